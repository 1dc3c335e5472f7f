import errno
import os

import pytest

from pyserini_jpq import files

pytestmark = pytest.mark.unit


def folder(path, text):
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.parametrize("swaps", [True, False])
def test_old_stays_until_the_new_is_there(tmp_path, monkeypatch, swaps):
    if not swaps:
        monkeypatch.setattr(files, "_swap", lambda *_: False)
    final, prepared = folder(tmp_path / "x", "old"), folder(tmp_path / ".x.partial", "new")
    files.move_into_place(prepared, final)
    assert (final / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("killed_at", [1, 2])
def test_killed_between_two_renames_the_old_comes_back(tmp_path, monkeypatch, killed_at):
    monkeypatch.setattr(files, "_swap", lambda *_: False)
    final, prepared = folder(tmp_path / "x", "old"), folder(tmp_path / ".x.partial", "new")
    rename, calls = os.rename, []

    def killed(*paths):
        calls.append(paths)
        if len(calls) == killed_at:
            raise SystemExit
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(SystemExit):
            files.move_into_place(prepared, final)
    files.put_back(final)
    assert (final / "file").read_text() == "old"
    files.move_into_place(prepared, final)
    assert (final / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY") or os.uname().sysname != "Linux", reason="renameat2 is Linux's")
def test_swap_is_one_step(tmp_path):
    one, other = folder(tmp_path / "one", "1"), folder(tmp_path / "other", "2")
    if not files._swap(one, other):
        pytest.skip("this file system cannot swap two names")
    assert (one / "file").read_text() == "2" and (other / "file").read_text() == "1"
    assert not files._swap(one, tmp_path / "missing")
    assert (one / "file").read_text() == "2"


def test_a_text_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "x").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        files.write_text_atomically(tmp_path / "x", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "old")]

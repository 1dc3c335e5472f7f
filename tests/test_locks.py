"""One writer at a time, whoever it is and however it ends."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from pyserini_jpq import files, locks
from pyserini_jpq.errors import OutputError
from pyserini_jpq.locks import exclusive, lock_file
from tests.processes import forked, killed_at_each_step

pytestmark = pytest.mark.unit


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `x`, until it is killed or told to go on."""
    code = "import sys; from pathlib import Path; from pyserini_jpq.locks import exclusive\n"
    code += "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(tmp_path / "x")]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.communicate()


def test_the_second_writer_gets_one_line(tmp_path, holder):
    said = rf"x is being written by process {holder.pid} \(python.*exclusive"
    with pytest.raises(OutputError, match=said) as problem, exclusive(tmp_path / "x"):
        raise AssertionError
    assert "\n" not in str(problem.value) and str(problem.value).endswith("wait for it, or stop it")
    with pytest.raises(OutputError, match="is being written"), files.new_folder(tmp_path / "x", False):
        raise AssertionError
    os.symlink(tmp_path / "x", tmp_path / "link")
    with pytest.raises(OutputError, match="is being written"), exclusive(tmp_path / "link"):
        raise AssertionError
    with exclusive(tmp_path / "y"):  # another output is another matter
        pass
    holder.communicate(b"")
    with exclusive(tmp_path / "x"):
        pass
    assert os.listdir(tmp_path) == ["link"]


def test_what_a_dead_process_left_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert os.listdir(tmp_path) == [".x.lock"]
    with exclusive(tmp_path / "x"):
        pass
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"pid": "x", "host": 3, "command": null}'])
def test_a_holder_that_left_no_name(tmp_path, holder, content):
    lock_file(tmp_path / "x").write_bytes(content)
    with pytest.raises(OutputError, match="being written by another process; wait"), exclusive(tmp_path / "x"):
        pass


def test_who_holds_it_may_take_it_again_and_nobody_else(tmp_path):
    refused = []

    def other():
        try:
            with exclusive(tmp_path / "x"):
                pass
        except OutputError:
            refused.append(True)
            return 3
        return 0

    with exclusive(tmp_path / "x"), exclusive(tmp_path / "x"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert refused == [True] and forked(other) == 3
    assert other() == 0 and not os.listdir(tmp_path)


def test_those_that_share_keep_others_out(tmp_path):
    def alone():
        try:
            with exclusive(tmp_path / "x"):
                return 0
        except OutputError:
            return 3

    def with_others():
        with exclusive(tmp_path / "x", shared=True):
            return alone_elsewhere()

    def alone_elsewhere():
        return forked(alone)

    with exclusive(tmp_path / "x", shared=True):
        assert forked(with_others) == 3 and forked(alone) == 3
        assert os.listdir(tmp_path) == [".x.lock"]
    assert forked(alone) == 0 and not os.listdir(tmp_path)


def test_many_at_once_are_one_at_a_time(tmp_path):
    """Each adds its number to a file by reading and writing it whole: nothing is lost if they never meet."""
    (tmp_path / "count").write_text("0")

    def add():
        for _ in range(20):
            while True:
                try:
                    with exclusive(tmp_path / "x"):
                        (tmp_path / "count").write_text(str(int((tmp_path / "count").read_text()) + 1))
                    break
                except OutputError:
                    pass
        return 0

    children = [forked(add, wait=False) for _ in range(4)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert statuses == [0] * 4 and (tmp_path / "count").read_text() == "80"
    assert os.listdir(tmp_path) == ["count"]


def test_a_folder_whose_parent_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) != os.fspath(tmp_path))
    assert lock_file(tmp_path / "x") == tmp_path / "x" / ".lock"
    assert lock_file(tmp_path / "new") == tmp_path / ".new.lock"


def test_file_systems_without_locks_refuse_nothing(tmp_path, monkeypatch):
    import fcntl

    def none(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with exclusive(tmp_path / "x"):
        pass
    assert not os.listdir(tmp_path)


def test_killed_at_each_write_no_folder_is_half_there(tmp_path):
    def write():
        with files.new_folder(tmp_path / "x", False) as folder:
            (folder / "a").write_text("1")
            (folder / "b").write_text("2")

    for _ in killed_at_each_step(write):
        if (tmp_path / "x").exists():
            assert {p.name: p.read_text() for p in (tmp_path / "x").iterdir()} == {"a": "1", "b": "2"}
            files.remove(tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]


def test_signals_are_those_of_a_kill():
    assert forked(lambda: os.kill(os.getpid(), signal.SIGKILL)) == -signal.SIGKILL

"""Commands that write one index at once, that are killed, or that find no room."""

import contextlib
import io
import json
import os
import resource
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pyserini_jpq import cli
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import EmbeddingsError, IndexFolderError, JPQError, OutputError
from pyserini_jpq.files import exclusive, remove
from pyserini_jpq.index import ivf_file, opq, writing
from pyserini_jpq.index.blocks import keep_blocks
from pyserini_jpq.index.build import build_from, build_opq
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf_file import read_ivf, write_ivf
from pyserini_jpq.index.manifest import BLOCKS, IVF
from pyserini_jpq.index.options import IndexOptions
from tests.conftest import make_embeddings, make_index
from tests.processes import forked, killed_at_each_step

pytestmark = pytest.mark.integration
D = 16
SETTINGS = IndexOptions(4, 4, 300, 1)


def vectors_of(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, D)).astype(np.float32)


@pytest.fixture
def index(tmp_path):
    make_index(tmp_path / "x", vectors_of(300, 0), [f"d{i}" for i in range(300)])
    keep_blocks(IndexFolder(tmp_path / "x"), True)
    return IndexFolder(tmp_path / "x")


@pytest.fixture
def more(tmp_path):
    return Embeddings(make_embeddings(tmp_path / "e", vectors_of(40, 1), [f"new{i}" for i in range(40)]))


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


WRITERS = {
    "append": lambda index, more: change_index(index, more),
    "delete": lambda index, more: change_index(index, delete=["d1"]),
    "ivf": lambda index, more: write_ivf(index, 3),
    "blocks": lambda index, more: keep_blocks(index, True),
    "no blocks": lambda index, more: keep_blocks(index, False),
    "build": lambda index, more: build_opq(more, SETTINGS, index.path, overwrite=True),
    "from": lambda index, more: build_from(index, more, index.path, overwrite=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_second_writer_is_refused(index, more, tmp_path, name):
    before = contents(index.path)

    def other():
        try:
            WRITERS[name](IndexFolder(index.path), more)
        except OutputError as problem:
            (tmp_path / "said").write_text(str(problem))
            return 2
        return 0

    with exclusive(index.path):  # as every one of them holds it
        assert forked(other) == 2
    assert f"x is being written by process {os.getpid()} (" in (tmp_path / "said").read_text()
    assert contents(index.path) == before and not list(tmp_path.glob(".*"))
    assert forked(other) == 0 and not list(tmp_path.glob("**/.*"))
    IndexFolder(index.path, verify=True).read()


def test_updates_of_many_are_refused_or_kept(index, tmp_path):
    """Nothing is lost: the documents are those whose command said that it was done."""

    def append(number):
        docids = [f"p{number}-{i}" for i in range(5)]
        embeddings = Embeddings(make_embeddings(tmp_path / f"e{number}", vectors_of(5, number), docids))
        for _ in range(3):
            try:
                change_index(IndexFolder(index.path), embeddings, replace=True)
            except JPQError as problem:
                assert "is being written by" in str(problem) or "was changed meanwhile" in str(problem)
                continue
            return 0
        return 2

    children = {forked(lambda n=n: append(n), wait=False): n for n in range(6)}
    done = {children[child]: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in list(children)}
    assert set(done.values()) <= {0, 2} and 0 in done.values()
    docids = set(IndexFolder(index.path, verify=True).docids())
    assert docids >= {f"d{i}" for i in range(300)}
    assert {n for n, status in done.items() if status == 0} == {int(d[1]) for d in docids if d[0] == "p"}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["append", "delete", "ivf", "blocks"])
def test_an_index_that_was_changed_since_it_was_opened(index, more, name):
    stale = IndexFolder(index.path)
    change_index(index, delete=["d7"])
    before = contents(index.path)
    with pytest.raises(IndexFolderError, match="was changed meanwhile; run the same command again"):
        WRITERS[name](stale, more)
    assert contents(index.path) == before


def test_an_index_that_is_changed_while_it_is_opened(index, more, monkeypatch):
    check_file = IndexFolder.check_file

    def meanwhile(self, name, *words):
        monkeypatch.setattr(IndexFolder, "check_file", check_file)
        change_index(IndexFolder(index.path), more)
        check_file(self, name, *words)

    monkeypatch.setattr(IndexFolder, "check_file", meanwhile)
    assert len(IndexFolder(index.path).docids()) == 340


def test_even_without_locks_no_change_is_overwritten(index, more, monkeypatch):
    write_manifest = writing.write_manifest

    def meanwhile(*words):
        monkeypatch.setattr(writing, "write_manifest", write_manifest)
        change_index(IndexFolder(index.path), delete=["d7"])
        write_manifest(*words)

    monkeypatch.setattr(writing, "write_manifest", meanwhile)
    monkeypatch.setattr(writing, "begun", lambda folder, work, begun=writing.begun: begun(other(folder), work))
    names = iter("abc")

    def other(folder):
        return folder.with_name(f".{next(names)}.partial")

    with pytest.raises(IndexFolderError, match="was changed meanwhile"):
        change_index(index, more)
    assert len(IndexFolder(index.path, verify=True).docids()) == 299


@pytest.mark.parametrize("change", ["append", "delete"])
def test_what_is_not_ours_stays_in_the_folder(index, more, change):
    (index.path / "training.jsonl").write_text("{}\n")
    (index.path / "settings.json").write_text("mine")
    (index.path / "notes").mkdir()
    (index.path / "notes" / "a.txt").write_text("precious")
    os.symlink("notes/a.txt", index.path / "link")
    write_ivf(index, 3)
    if change == "append":
        changed = change_index(IndexFolder(index.path), more)
    else:
        changed = change_index(IndexFolder(index.path), delete=["d0"])
    assert changed.dropped == (IVF,)
    after = IndexFolder(index.path, verify=True)
    assert after.blocks is not None and BLOCKS in after.manifest.files and IVF not in after.manifest.files
    assert (index.path / "training.jsonl").read_text() == "{}\n"
    assert (index.path / "settings.json").read_text() == "mine"
    assert (index.path / "link").is_symlink() and (index.path / "link").read_text() == "precious"
    names = {"index", "docid", "jpq.json", "initial_centroids.npy", "blocks"}
    assert {p.name for p in index.path.iterdir()} == names | {"training.jsonl", "settings.json", "notes", "link"}
    assert change_index(IndexFolder(index.path), delete=["d9"]).dropped == ()


def test_killed_at_each_step_an_index_is_the_old_or_the_new(index, more, tmp_path):
    (index.path / "notes.txt").write_text("mine")
    old = contents(index.path)
    shutil.copytree(index.path, tmp_path / "new")
    change_index(IndexFolder(tmp_path / "new"), more, ["d3"])
    new, kills, outcomes = contents(tmp_path / "new"), 0, set()
    for _ in killed_at_each_step(lambda: change_index(IndexFolder(index.path), more, ["d3"])):
        kills += 1
        found = contents(index.path)
        assert found in (old, new)
        outcomes.add(found == new)
        if found == old and kills % 2:
            change_index(IndexFolder(index.path), more, ["d3"])
            assert contents(index.path) == new
        if contents(index.path) == new:
            remove(index.path)
            index.path.mkdir()
            for name, content in old.items():
                (index.path / name).write_bytes(content)
    assert kills > 20 and outcomes == {True, False}


@pytest.mark.parametrize("name", ["ivf", "blocks", "no blocks"])
def test_killed_at_each_step_a_file_beside_is_the_old_or_the_new(index, more, name):
    write_ivf(index, 5)
    codes = (index.path / "index").read_bytes()
    kills = 0
    for _ in killed_at_each_step(lambda: WRITERS[name](IndexFolder(index.path, whole=False), more)):
        kills += 1
        folder = IndexFolder(index.path, verify=True)
        assert read_ivf(folder, folder.read()).ntotal == 300
        assert (index.path / "index").read_bytes() == codes
    assert kills > 3
    WRITERS[name](IndexFolder(index.path), more)
    IndexFolder(index.path, verify=True)


def test_killed_at_each_step_a_build_goes_on(more, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "BLOCK", 16)
    monkeypatch.setattr(opq, "_SAVED_EVERY", 0.2)
    build_opq(more, SETTINGS, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    kills = 0
    for _ in killed_at_each_step(lambda: build_opq(more, SETTINGS, tmp_path / "y")):
        kills += 1
        if (tmp_path / "y").exists():
            assert contents(tmp_path / "y") == whole
            remove(tmp_path / "y")
        elif kills % 4 == 0:
            build_opq(more, SETTINGS, tmp_path / "y")
            assert contents(tmp_path / "y") == whole
            remove(tmp_path / "y")
    assert kills > 10 and contents(tmp_path / "y") == whole


def test_opq_goes_on_from_the_round_that_was_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(opq, "_SAVED_EVERY", 0.0)
    sample, state = vectors_of(300, 3), tmp_path / "opq.npz"
    whole = opq.train_opq(sample, 4, 4, 7, rounds=6)
    procrustes, calls = opq._procrustes, []

    def interrupted(*words):
        calls.append(words)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return procrustes(*words)

    monkeypatch.setattr(opq, "_procrustes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opq.train_opq(sample, 4, 4, 7, rounds=6, state=state)
    again = opq.train_opq(sample, 4, 4, 7, rounds=6, state=state)
    assert len(calls) == 4 + 3  # three rounds were kept
    assert np.array_equal(again.rotation, whole.rotation) and np.array_equal(again.centroids, whole.centroids)
    state.write_bytes(state.read_bytes()[:100])
    damaged = opq.train_opq(sample, 4, 4, 7, rounds=6, state=state)
    assert np.array_equal(damaged.centroids, whole.centroids)


def test_a_good_index_is_not_replaced_by_what_cannot_be_opened(index, more, monkeypatch):
    before = contents(index.path)
    write_docids = writing.write_docids
    for module in ("build", "change"):
        monkeypatch.setattr(
            f"pyserini_jpq.index.{module}.write_docids", lambda folder, docids: write_docids(folder, list(docids)[:-1])
        )
    for change in ("append", "delete", "build", "from"):
        with pytest.raises(IndexFolderError, match="docids for"):
            WRITERS[change](IndexFolder(index.path), more)
        assert contents(index.path) == before and not list(index.path.parent.glob(".*"))


@pytest.mark.parametrize("docid", ["a b", "", "a\tb", "new0", "a\0b"])
def test_docids_that_cannot_be_are_refused_before_the_work(index, tmp_path, docid, monkeypatch):
    monkeypatch.setattr(opq, "train_opq", None)
    bad = Embeddings(make_embeddings(tmp_path / "e", vectors_of(40, 1), [*(f"new{i}" for i in range(39)), docid]))
    before = contents(index.path)
    for change in ("append", "build", "from"):
        with pytest.raises(EmbeddingsError, match="docid"):
            WRITERS[change](IndexFolder(index.path), bad)
    assert contents(index.path) == before and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["append", "ivf", "blocks", "build"])
@pytest.mark.parametrize("room", [500, 1500, 4000, 6000])
def test_no_room(index, more, name, room):
    """A limit on the size of files stands for a full disk: C and Python find both out in the same places."""
    write_ivf(index, 5)
    before = contents(index.path)
    start, end = os.pipe()

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = cli.run(lambda _: WRITERS[name](IndexFolder(index.path), more) and None, [])
        os.write(end, said.getvalue().splitlines()[-1].encode() if said.getvalue() else b"-")
        return status

    status = forked(limited)
    said = os.read(start, 1 << 16).decode()
    if status == 0:
        IndexFolder(index.path, verify=True).read()
        return
    assert status == 2 and "larger than files may be here (ulimit -f) for" in said, said
    after = contents(index.path)
    # Beside the codes a file may be unlisted for now; it is there, and the old one.
    assert {**after, "jpq.json": 0} == {**before, "jpq.json": 0}
    folder = IndexFolder(index.path, verify=True)
    assert read_ivf(folder, folder.read()).ntotal == 300
    WRITERS[name](IndexFolder(index.path), more)
    IndexFolder(index.path, verify=True)


def test_lists_where_nothing_can_be_written(monkeypatch):
    """Said before the documents are sorted."""
    monkeypatch.setattr(ivf_file, "build_ivf", lambda *_: pytest.fail("sorted"))
    place = Path(tempfile.mkdtemp())
    make_index(place / "x", vectors_of(300, 0), [f"d{i}" for i in range(300)])
    start, end = os.pipe()

    def unprivileged():
        os.chmod(place / "x", 0o555)
        os.chmod(place, 0o555)
        if os.getuid() == 0:
            os.setuid(65534)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = cli.run(lambda _: write_ivf(IndexFolder(place / "x"), 5) and None, [])
        os.write(end, said.getvalue().encode())
        return status

    status, said = forked(unprivileged), os.read(start, 1 << 16).decode()
    shutil.rmtree(place)
    assert status == 2 and "Permission denied; choose a place that can be read and written" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_the_folder_that_the_command_runs_in_is_no_output(index, more, tmp_path, monkeypatch, place):
    (tmp_path / "x" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "x" / "deep" if place == ".." else tmp_path / "x")
    before = contents(index.path)
    with pytest.raises(OutputError, match="holds the folder that the command runs in"):
        build_opq(more, SETTINGS, Path(place), overwrite=True)
    assert contents(index.path) == before
    if place == ".":  # in place it may be changed
        assert change_index(IndexFolder("."), delete=["d0"]).documents == 299


@pytest.mark.parametrize("name", ["ivf", "blocks"])
def test_what_begins_again_after_an_interruption_says_so(index, more, monkeypatch, capsys, name):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ivf_file, "build_ivf", interrupted)
    monkeypatch.setattr("pyserini_jpq.index.blocks.write_blocks", interrupted)
    assert cli.run(lambda _: WRITERS[name](index, more) and None, []) == 130
    assert "interrupted: nothing was changed; the same command begins again" in capsys.readouterr().err


def test_closed_streams_stay_out_of_the_index(index, more, tmp_path):
    """With `2>&-` the next file that is opened gets number 2, and what faiss prints lands in it."""

    def closed():
        for number in (0, 1, 2):
            os.close(number)
        return cli.run(lambda _: os.write(2, b"printed") and build_opq(more, SETTINGS, tmp_path / "y"), [])

    assert forked(closed) == 0
    build_opq(more, SETTINGS, tmp_path / "z")
    assert contents(tmp_path / "y") == contents(tmp_path / "z")
    assert json.loads((tmp_path / "y" / "jpq.json").read_text())["documents"] == 40

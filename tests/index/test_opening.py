"""Readers and writers of one index at once."""

import os
import shutil

import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import move_into_place
from pyserini_jpq.index.blocks import keep_blocks
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.faiss_format import stored_codes
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf_file import read_ivf, write_ivf
from pyserini_jpq.index.manifest import DOCID
from pyserini_jpq.index.opening import opened
from tests.conftest import make_embeddings, make_index, run
from tests.processes import forked

pytestmark = pytest.mark.integration
D = 16


def vector_of(docids):
    """Return vectors that follow from the docids, so that a code tells whose it is."""
    return np.stack([np.random.default_rng(int(docid[1:])).normal(size=D) for docid in docids]).astype(np.float32)


@pytest.fixture
def index(tmp_path):
    docids = [f"d{i}" for i in range(300)]
    make_index(tmp_path / "x", vector_of(docids), docids)
    keep_blocks(IndexFolder(tmp_path / "x"), True)
    make_embeddings(tmp_path / "e", vector_of(docids[:5]), docids[:5])
    return tmp_path / "x"


def everything(folder):
    """Return docids, codes and lists, all copied."""
    docids = Docids(folder.path / DOCID, folder.manifest.documents)
    whole = folder.read(mapped=True)
    lists = read_ivf(folder, whole)
    codes = stored_codes(whole, folder.path).copy()
    return list(docids), codes, None if lists is None else lists.ntotal


def test_readers_see_one_state(index, tmp_path):
    docids, codes, _ = opened(index, everything)
    code_of = {docid: code.tobytes() for docid, code in zip(docids, codes, strict=True)}

    def writer():
        for turn in range(12):
            change_index(IndexFolder(index), Embeddings(tmp_path / "e"), [f"d{250 + turn}"], replace=True)
            if turn % 3 == 0:
                write_ivf(IndexFolder(index), 3 + turn)
                keep_blocks(IndexFolder(index), turn % 2 == 0)
        return 0

    child, readings, sizes = forked(writer, wait=False), 0, set()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        docids, codes, lists = opened(index, everything)
        assert [code_of[docid] for docid in docids] == [code.tobytes() for code in codes]
        assert lists in (None, len(docids))
        readings += 1
        sizes.add(len(docids))
    assert readings > 5 and len(sizes) > 2
    assert len(opened(index, everything, verify=True)[0]) == 288


def test_what_is_wrong_is_told_at_once_and_what_never_rests_in_the_end(index):
    calls = []

    def changed_each_time(folder):
        calls.append(folder)
        manifest = index / "jpq.json"
        manifest.write_text(manifest.read_text() + " ")

    with pytest.raises(IndexFolderError, match="is changed again and again while it is opened"):
        opened(index, changed_each_time)
    assert len(calls) == 20
    (index / "docid").write_text("short")
    with pytest.raises(IndexFolderError, match="docid has 5 bytes"):
        opened(index, everything)
    shutil.rmtree(index)
    with pytest.raises(IndexFolderError, match="is no folder"):
        opened(index, everything)


COMMANDS = {
    "append": lambda index: (
        ["index", "--index", index, "--append", "--replace", "--any-encoder", "--embeddings", index.with_name("e")]
    ),
    "delete": lambda index: ["index", "--index", index, "--delete", "d7"],
    "ivf": lambda index: ["index", "--index", index, "--ivf", 3],
    "blocks": lambda index: ["index", "--index", index, "--blocks", "yes"],
    "export": lambda index: ["convert", "--to", "faiss", "--index", index, "--output", index.with_name("out")],
    "from": lambda index: (
        ["index", "--from", index, "--embeddings", index.with_name("e"), "--output", index.with_name("y")]
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_opens_an_index_that_another_is_swapped_in_for(index, tmp_path, monkeypatch, capsys, command):
    docids = [f"d{i}" for i in range(320)]
    make_index(tmp_path / "new", vector_of(docids), docids)
    keep_blocks(IndexFolder(tmp_path / "new"), True)
    check_file, swaps = IndexFolder.check_file, []

    def swapped_before(folder, *words):
        if folder.path == index and not swaps:
            swaps.append(1)
            move_into_place(tmp_path / "new", index)
        check_file(folder, *words)

    monkeypatch.setattr(IndexFolder, "check_file", swapped_before)
    status = run(*COMMANDS[command](index))
    assert swaps and status == 0, capsys.readouterr().err
    assert IndexFolder(index, verify=True).manifest.documents == (319 if command == "delete" else 320)


def test_who_has_it_open_keeps_the_old_state(index, tmp_path):
    whole = IndexFolder(index).read(mapped=True)
    docids = Docids(index / DOCID, 300)
    before = stored_codes(whole, index).copy()
    change_index(IndexFolder(index), delete=[f"d{i}" for i in range(200)])
    assert len(IndexFolder(index).docids()) == 100
    assert np.array_equal(stored_codes(whole, index), before) and docids[299] == "d299"

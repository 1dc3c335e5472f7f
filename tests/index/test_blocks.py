"""The codes laid out for the scan: what is written is what is opened, and which indexes have them."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index import blocks, writing
from pyserini_jpq.index import folder as index_folder
from pyserini_jpq.index.blocks import HEADER, open_blocks, write_blocks
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.faiss_format import stored_codes
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.scan import in_blocks
from tests.conftest import make_embeddings, run

FLAGS = ("--batch-size", 16, "--num-negatives", 20, "--epochs", 1, "--device", "cpu", "--threads", 1)


def codes_of(documents, m, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (documents, m)).astype(np.uint8)


def same(blocks, codes):
    return (blocks.documents, blocks.m) == codes.shape and np.array_equal(blocks.data, in_blocks(codes).data)


def holds_its_codes(folder):
    index = IndexFolder(folder, verify=True)
    codes = stored_codes(whole := index.read(), "x")
    assert whole.ntotal == index.manifest.documents
    return index.blocks is not None and same(open_blocks(index.blocks, codes), codes)


@pytest.mark.property
@given(st.integers(0, 20_000), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 8]))
def test_what_is_written_is_opened(tmp_path_factory, documents, m, seed, at_once):
    path, codes = tmp_path_factory.mktemp("blocks") / "blocks", codes_of(documents, m, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_AT_ONCE", at_once * 8192)
        write_blocks(path, codes)
    opened = open_blocks(path, codes)
    assert same(opened, codes) and opened.data.dtype == np.uint8
    assert path.stat().st_size == HEADER + opened.data.size and type(opened.data) is np.ndarray


@pytest.mark.unit
def test_a_file_that_does_not_fit_is_refused(tmp_path):
    path, codes = tmp_path / "blocks", codes_of(1500, 5)
    write_blocks(path, codes)
    whole = path.read_bytes()

    def refused(match, against=codes):
        with pytest.raises(IndexFolderError, match=match) as problem:
            open_blocks(path, against)
        assert "delete it" in str(problem.value) and "\n" not in str(problem.value)

    for other in (codes[:-1], codes[:, :-1], codes_of(1501, 5)):
        refused(f"is not of {len(other)} documents of {other.shape[1]} bytes", other)
    for document in (0, 1499):
        other = codes.copy()
        other[document, 3] ^= 1
        refused("holds other codes than the index", other)
    for wrong in (b"", whole[:100], whole[:-1], whole + b"x", b"x" + whole[1:], whole[:8] + b"\1" + whole[9:]):
        path.write_bytes(wrong)
        refused("or damaged")


@pytest.mark.unit
def test_a_folder_opens_without_them_but_not_with_wrong_ones(built, tmp_path):
    shutil.copytree(built / "x.opq-m4", tmp_path / "x")
    file = tmp_path / "x" / "blocks"
    whole = file.read_bytes()
    assert IndexFolder(tmp_path / "x", verify=True).blocks == file and holds_its_codes(tmp_path / "x")
    file.write_bytes(whole[:-1])
    with pytest.raises(IndexFolderError, match=r"bytes, jpq.json says .* changed: delete it"):
        IndexFolder(tmp_path / "x")
    file.write_bytes(whole[:-1] + b"\1")
    IndexFolder(tmp_path / "x")
    with pytest.raises(IndexFolderError, match=r"SHA-256 .* was changed: delete it"):
        IndexFolder(tmp_path / "x", verify=True)
    file.unlink()
    assert IndexFolder(tmp_path / "x", verify=True).blocks is None
    manifest = json.loads((tmp_path / "x" / "jpq.json").read_text())
    del manifest["files"]["blocks"]
    (tmp_path / "x" / "jpq.json").write_text(json.dumps(manifest))
    assert IndexFolder(tmp_path / "x", verify=True).blocks is None
    file.write_bytes(b"not of this index")
    assert IndexFolder(tmp_path / "x", verify=True).blocks is None


@pytest.mark.integration
def test_the_flag_of_a_new_index(built, tmp_path, capsys):
    new = ("index", "--embeddings", built / "embeddings", "--m", 4, "--seed", 1)
    assert run(*new, "--output", tmp_path / "with") == run(*new, "--output", tmp_path / "no", "--blocks", "no") == 0
    assert holds_its_codes(tmp_path / "with") and not (tmp_path / "no" / "blocks").exists()
    assert "blocks" not in IndexFolder(tmp_path / "no", verify=True).manifest.files
    assert run(*new, "--output", tmp_path / "4", "--bits", 4) == 0 and holds_its_codes(tmp_path / "4")
    like = ("index", "--from", tmp_path / "no", "--embeddings", built / "embeddings")
    assert run(*like, "--output", tmp_path / "y") == 0 and holds_its_codes(tmp_path / "y")
    assert run(*like, "--output", tmp_path / "z", "--blocks", "no") == 0 and not IndexFolder(tmp_path / "z").blocks
    capsys.readouterr()
    assert run("index", "--index", tmp_path / "no", "--delete", "d0", "--blocks", "yes") == 2
    assert "--blocks belongs to a new index" in capsys.readouterr().err
    assert run(*new, "--output", tmp_path / "w", "--blocks", "maybe") == 2


@pytest.mark.integration
def test_an_index_that_is_there_gets_them_or_loses_them(built, tmp_path, capsys, monkeypatch):
    shutil.copytree(built / "x.opq-m4", tmp_path / "x")
    before = IndexFolder(tmp_path / "x").manifest.files
    flags = ("index", "--index", tmp_path / "x", "--blocks")
    assert run(*flags, "no") == 0 and "300 documents without blocks" in capsys.readouterr().err
    assert not (tmp_path / "x" / "blocks").exists()
    assert "blocks" not in IndexFolder(tmp_path / "x", verify=True).manifest.files
    for _ in range(2):  # where there are none, and in place of others
        assert run(*flags, "yes") == 0 and holds_its_codes(tmp_path / "x")
        assert IndexFolder(tmp_path / "x").manifest.files == before
        (tmp_path / "x" / "blocks").write_bytes((tmp_path / "x" / "blocks").read_bytes()[:-1] + b"\1")
    with monkeypatch.context() as patch:
        patch.setattr(index_folder, "move_into_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*flags, "yes") == 130
    assert run(*flags, "no") == run(*flags, "no") == run(*flags, "yes") == 0 and holds_its_codes(tmp_path / "x")
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "write_blocks", lambda path, _: path.write_bytes(b"x") and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            blocks.keep_blocks(IndexFolder(tmp_path / "x"), True)
    (tmp_path / "x" / ".blocks.7.partial").write_bytes(b"of a process that was killed")
    os.utime(tmp_path / "x" / ".blocks.7.partial", (0, 0))
    (tmp_path / "x" / "blocks").write_bytes(b"cut short")
    assert run(*flags, "yes") == 0 and holds_its_codes(tmp_path / "x")
    assert not list((tmp_path / "x").glob(".*"))
    assert run(*flags, "yes", "--ivf", 3) == 2 and run(*flags, "yes", "--replace") == 2


@pytest.mark.unit
def test_they_do_not_go_into_an_index_that_was_changed_meanwhile(built, tmp_path, monkeypatch):
    shutil.copytree(built / "x.opq-m4", tmp_path / "x")
    indexes = [IndexFolder(tmp_path / "x") for _ in range(2)]

    def slowly(path, codes):
        write_blocks(path, codes)
        change_index(IndexFolder(tmp_path / "x"), delete=["d7"])

    monkeypatch.setattr(blocks, "write_blocks", slowly)
    for index, keep in zip(indexes, (True, False), strict=True):
        with pytest.raises(IndexFolderError, match="was changed meanwhile; run the same command again"):
            blocks.keep_blocks(index, keep)
    assert IndexFolder(tmp_path / "x").manifest.documents == 299 and holds_its_codes(tmp_path / "x")


@pytest.mark.integration
def test_what_an_interrupted_run_wrote_goes_where_it_is_not_wanted(built, tmp_path, monkeypatch):
    new = ("index", "--embeddings", built / "embeddings", "--m", 4, "--output", tmp_path / "x")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(*new) == 130
    assert (tmp_path / ".x.partial" / "blocks").is_file()
    assert run(*new, "--blocks", "no") == 0 and not (tmp_path / "x" / "blocks").exists()


@pytest.mark.integration
def test_changed_indexes_have_them_if_they_had(built, tmp_path):
    shutil.copytree(built / "x.opq-m4", tmp_path / "x")
    vectors = np.random.default_rng(0).normal(size=(700, IndexFolder(tmp_path / "x").manifest.dimension))
    encoder = Embeddings(built / "embeddings").encoder
    docids = [f"new{i}" for i in range(700)]
    more = Embeddings(make_embeddings(tmp_path / "more", vectors.astype(np.float32), docids, encoder))
    change_index(IndexFolder(tmp_path / "x"), more, ["d0", "d299"])
    assert IndexFolder(tmp_path / "x").manifest.documents == 998 and holds_its_codes(tmp_path / "x")
    (tmp_path / "x" / "blocks").unlink()
    change_index(IndexFolder(tmp_path / "x"), delete=["new3"])
    assert not (tmp_path / "x" / "blocks").exists()


@pytest.mark.integration
@pytest.mark.parametrize(("bits", "there"), [(8, True), (8, False), (4, True)])
def test_trained_indexes_have_them_if_they_had(built, tiny_collection, tmp_path, bits, there):
    new = ("index", "--embeddings", built / "embeddings", "--m", 4, "--bits", bits)
    assert run(*new, "--output", tmp_path / "x") == 0
    before = (tmp_path / "x" / "blocks").read_bytes()
    if not there:
        (tmp_path / "x" / "blocks").unlink()
    words = ["--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt"]
    outputs = ["--output", tmp_path / "y", "--output-encoder", tmp_path / "enc", "--embeddings", built / "embeddings"]
    assert run("train", "--index", tmp_path / "x", *words, *outputs, *FLAGS) == 0
    after = tmp_path / "y" / "blocks"
    assert holds_its_codes(tmp_path / "y") and after.read_bytes() == before if there else not after.exists()

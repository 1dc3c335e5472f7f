"""Appending, replacing and deleting: the same as building at once, or nothing at all."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from pyserini_jpq.data.collection import Collection, Document
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import CollectionError, EmbeddingsError, EncoderError, IndexFolderError
from pyserini_jpq.index import writing
from pyserini_jpq.index.build import build_from, build_opq
from pyserini_jpq.index.change import Changed, change_index
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.texts import Texts, keep_texts, texts_of
from tests.conftest import ENCODER, make_embeddings, make_index, run

pytestmark = pytest.mark.integration
FILES = ("index", "docid", "initial_centroids.npy", "jpq.json")
D = 32


def vectors_of(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, D)).astype(np.float32)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An index of 1,000 documents whose centroids moved after codes were assigned, and its embeddings."""
    folder = tmp_path_factory.mktemp("base")
    vectors, docids = vectors_of(1000, 0), [f"d{i}" for i in range(1000)]
    make_embeddings(folder / "e", vectors, docids)
    make_index(folder / "x", vectors, docids)
    return folder


@pytest.fixture
def index(base, tmp_path):
    shutil.copytree(base / "x", tmp_path / "x")
    return IndexFolder(tmp_path / "x")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def added(folder, name, documents, seed, first=1000, rows=16384):
    docids = [f"d{i}" for i in range(first, first + documents)]
    return Embeddings(make_embeddings(folder / name, vectors_of(documents, seed), docids, rows=rows))


def test_hundred_thousand_documents_in_seven_parts(base, tmp_path):
    vectors, docids = vectors_of(100_000, 2), [f"new{i}" for i in range(100_000)]
    cuts = [0, 1, 17, 16_401, 50_000, 50_003, 99_999, 100_000]
    for name in ("at-once", "in-parts"):
        shutil.copytree(base / "x", tmp_path / name)
    change_index(IndexFolder(tmp_path / "at-once"), Embeddings(make_embeddings(tmp_path / "e", vectors, docids)))
    for start, end in pairwise(cuts):
        part = make_embeddings(tmp_path / f"e{start}", vectors[start:end], docids[start:end], rows=7000)
        change_index(IndexFolder(tmp_path / "in-parts"), Embeddings(part))
    assert contents(tmp_path / "at-once") == contents(tmp_path / "in-parts")

    everything = np.concatenate([vectors_of(1000, 0), vectors])
    whole = make_embeddings(tmp_path / "all", everything, [*(f"d{i}" for i in range(1000)), *docids])
    build_from(IndexFolder(base / "x"), Embeddings(whole), tmp_path / "built")
    assert contents(tmp_path / "built") | {"jpq.json": 0} == contents(tmp_path / "in-parts") | {"jpq.json": 0}

    opened = IndexFolder(tmp_path / "in-parts", verify=True)
    scoring, codes = from_faiss(read := read_faiss(opened.path / "index"), "x")
    assigning = type(scoring)(scoring.rotation, opened.initial_centroids())
    assert np.mean(codes == assigning.assign(everything)) > 0.99999
    queries = vectors_of(5, 3)
    scores, rows = read.search(queries, 100)
    reference, _ = scoring.search(queries, codes, 100)
    assert np.allclose(scores, reference, atol=1e-4)
    assert np.allclose(np.take_along_axis(scoring.score(queries, codes), rows, 1), scores, atol=1e-4)


def test_from_assigns_as_the_index_itself_was(base, tmp_path):
    build_from(IndexFolder(base / "x"), Embeddings(base / "e"), tmp_path / "again")
    before, after = contents(base / "x"), contents(tmp_path / "again")
    assert before.pop("jpq.json") != after.pop("jpq.json") and before == after


def test_replaced_and_deleted_documents(index, tmp_path):
    before = from_faiss(old := read_faiss(index.path / "index"), "x")[1]
    new = added(tmp_path, "e", 20, 4, first=990)
    with pytest.raises(IndexFolderError, match=r"holds document 'd990' \(and 9 others\) already; give --replace"):
        change_index(index, new)
    assert change_index(index, new, ["d0", "d995"], replace=True) == Changed(11, 9, 2, 1009)
    after = IndexFolder(index.path, verify=True)
    assert after.docids() == [f"d{i}" for i in range(1, 1010)]
    codes = from_faiss(whole := read_faiss(after.path / "index"), "x")[1]
    assert np.array_equal(codes[:989], before[1:990]) and old.ntotal == 1000 and whole.ntotal == 1009
    assert after.manifest.embeddings is None and after.manifest.documents == 1009
    change_index(after, delete=[f"d{i}" for i in range(990, 1010)])
    assert IndexFolder(index.path).docids() == [f"d{i}" for i in range(1, 990)]


def test_codes_of_4_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "BLOCK", 64)
    make_embeddings(tmp_path / "e", vectors_of(300, 0), [f"d{i}" for i in range(300)])
    build_opq(Embeddings(tmp_path / "e"), IndexOptions(8, 4, 300, 1), tmp_path / "x")
    index = IndexFolder(tmp_path / "x")
    before = from_faiss(old := read_faiss(index.path / "index"), "x")[1].copy()
    change_index(index, added(tmp_path, "more", 100, 4, first=300), [f"d{i}" for i in range(0, 300, 3)])
    after = IndexFolder(index.path, verify=True)
    quantizer, codes = from_faiss(whole := read_faiss(after.path / "index"), "x")
    assert (old.ntotal, whole.ntotal, after.manifest.bytes_per_document) == (300, 300, 4)
    assert np.array_equal(codes[:200], before[[i for i in range(300) if i % 3]])
    assert np.array_equal(codes[200:], quantizer.assign(vectors_of(100, 4)))


def test_what_cannot_be_changed_is_left(index, tmp_path, monkeypatch):
    before = contents(index.path)
    vectors = vectors_of(3, 5)
    broken = vectors.copy()
    broken[1, 1] = np.inf
    other = {**ENCODER, "name": "other", "sha256": "1" * 64}
    longer = {**ENCODER, "card": {"backbone": "nowhere/tiny", "document": {"max_length": 9}}}

    def refused(error, match, *, vectors=vectors, docids=("a", "b", "c"), encoder=None, **changes):
        place = tmp_path / f"e{len(list(tmp_path.iterdir()))}"
        embeddings = Embeddings(make_embeddings(place, vectors, docids, encoder))
        with pytest.raises(error, match=match) as problem:
            change_index(index, embeddings, **changes)
        assert "\n" not in str(problem.value)
        assert contents(index.path) == before and not list(tmp_path.glob(".*"))
        return embeddings

    refused(IndexFolderError, "no document 'zz' .and 1 others., so it cannot be deleted", delete=["zz", "zzz", "d1"])
    refused(EmbeddingsError, "docid 'a' twice", docids=("a", "b", "a"))
    refused(EmbeddingsError, "docid b", vectors=broken)
    refused(EncoderError, "has 16 dimensions", vectors=vectors[:, :16], any_encoder=True)
    allowed = refused(EncoderError, "made with other, whose weights are not those of tiny", encoder=other)
    refused(EncoderError, "document is TextSide.* expected TextSide", encoder=longer)
    with pytest.raises(IndexFolderError, match="would hold no document"):
        change_index(index, delete=index.docids())
    change_index(index, allowed, any_encoder=True)
    assert IndexFolder(index.path).docids()[-3:] == ["a", "b", "c"]


def test_initial_centroids_must_be_known(index, tmp_path):
    manifest = json.loads((index.path / "jpq.json").read_text())
    unknown = {**manifest["document_encoder"], "name": None, "card": None, "sha256": None}
    manifest |= {"initial_centroids_known": False, "document_encoder": unknown}
    (index.path / "jpq.json").write_text(json.dumps(manifest))
    new = added(tmp_path, "e", 3, 6)
    for use in (
        lambda **flags: change_index(IndexFolder(index.path), new, **flags),
        lambda **flags: build_from(IndexFolder(index.path), new, tmp_path / "y", **flags),
    ):
        with pytest.raises(EncoderError, match="imported without the weights of its document encoder"):
            use()
        with pytest.raises(IndexFolderError, match="import it again with --initial-index"):
            use(any_encoder=True)
    assert change_index(IndexFolder(index.path), delete=["d5"]).documents == 999


@pytest.mark.parametrize("rows", [16384, 50])
def test_interrupted_append_goes_on(base, index, tmp_path, monkeypatch, rows):
    before = contents(index.path)
    new = added(tmp_path, "e", 500, 7, rows=rows)
    shutil.copytree(index.path, tmp_path / "whole")
    change_index(IndexFolder(tmp_path / "whole"), new, ["d3"])
    monkeypatch.setattr(writing, "BLOCK", 64)
    assign, calls = writing.Assigner.assign, []

    def interrupted(self, block):
        calls.append(len(block))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return assign(self, block)

    monkeypatch.setattr(writing.Assigner, "assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        change_index(index, new, ["d3"])
    assert contents(index.path) == before
    # Cut in the middle of a row, as a kill may leave it.
    partial = tmp_path / ".x.partial" / "index"
    partial.write_bytes(partial.read_bytes()[:-3])
    change_index(index, new, ["d3"])
    assert contents(index.path) == contents(tmp_path / "whole")
    blocks = [50] * 10 if rows == 50 else [64] * 7 + [52]
    assert calls == [*blocks[:4], *blocks[2:]]


@pytest.mark.parametrize("moment", ["codes", "docids", "manifest", "place"])
def test_killed_append_leaves_the_old_index(index, tmp_path, moment):
    before = contents(index.path)
    new = added(tmp_path, "e", 500, 8)
    where = {
        "codes": "writing.Assigner.assign = die",
        "docids": "change.write_docids = die",
        "manifest": "writing.write_manifest = die",
        "place": "writing.move_into_place = die",
    }
    code = (
        "import os, signal, sys\n"
        "from pyserini_jpq.index import change, writing\n"
        "from pyserini_jpq.index.folder import IndexFolder\n"
        "from pyserini_jpq.encode.embeddings import Embeddings\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{where[moment]}\n"
        "change.change_index(IndexFolder(sys.argv[1]), Embeddings(sys.argv[2]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, index.path, new.folder], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert contents(index.path) == before
    IndexFolder(index.path, verify=True)
    assert change_index(index, new).documents == 1500
    assert sorted(os.listdir(tmp_path)) == ["e", "x"]


def test_flags(base, index, tmp_path, capsys):
    new = added(tmp_path, "e", 5, 9)
    (tmp_path / "gone.txt").write_text("d1\nd2\n")
    x = ("--index", index.path)
    append = ("index", *x, "--append", "--embeddings", new.folder)
    assert run(*append, "--delete", "d0", "d7", "--delete-file", tmp_path / "gone.txt", "--threads", 1) == 0
    assert "5 appended, 4 deleted, 1001 documents" in capsys.readouterr().err
    assert run(*append) == 2 and "already; give --replace" in capsys.readouterr().err
    assert run(*append, "--replace") == 0 and "5 replaced, 1001 documents" in capsys.readouterr().err
    os.symlink(index.path, tmp_path / "link")
    assert run("index", "--index", tmp_path / "link", "--delete", "d8") == 0
    assert (tmp_path / "link").is_symlink() and IndexFolder(index.path).manifest.documents == 1000
    for flags, message in (
        (("--append", "--embeddings", new.folder), "need --index"),
        ((*x, "--append"), "--append and --embeddings go together"),
        ((*x, "--delete", "d9", "--embeddings", new.folder), "--append and --embeddings go together"),
        ((*x, "--delete", "d9", "--output", tmp_path / "y", "--m", 4), "--output, --m belongs to a new index"),
        ((*x, "--embeddings", new.folder), "--index and --replace go with"),
        (("--embeddings", new.folder), "needs --embeddings and --output"),
        (("--from", base / "x", "--embeddings", new.folder, "--output", "y", "--seed", 0), "--seed does not go with"),
        ((*x, "--delete-file", tmp_path / "nowhere"), "no file of docids"),
    ):
        assert run("index", *flags) == 2 and message in capsys.readouterr().err.splitlines()[-1]
    made = ("index", "--from", base / "x", "--embeddings", new.folder, "--output", tmp_path / "y")
    assert run(*made) == 0 and "5 documents of 4 bytes" in capsys.readouterr().err
    assert run(*made) == 2 and "exists already" in capsys.readouterr().err
    assert IndexFolder(tmp_path / "y", verify=True).embeddings() == tmp_path / "y" / ".." / "e"


def texts_file(folder, docids):
    path = folder / f"{len(docids)}-{docids[0]}.jsonl"
    path.write_text("".join(json.dumps({"id": d, "title": d.upper(), "text": f"text of {d}."}) + "\n" for d in docids))
    return path


def test_texts_follow_the_documents(index, tmp_path):
    keep_texts(index, texts_file(tmp_path, [f"d{i}" for i in range(1100)]))  # a hundred of other documents
    for first in (1000, 1010, 1020):
        change_index(
            IndexFolder(index.path),
            added(tmp_path, f"e{first}", 10, 3, first),
            texts=texts_file(tmp_path, [f"d{i}" for i in range(first, first + 10)]),
        )
    change_index(
        IndexFolder(index.path),
        added(tmp_path, "e", 2, 4, 999),
        ["d3", "d1015"],
        replace=True,
        texts=Collection(texts_file(tmp_path, ["d999", "d1000"])),
    )
    changed = IndexFolder(index.path, verify=True)
    texts = texts_of(changed)
    assert set(texts) == set(changed.docids()) and len(texts) == changed.manifest.documents == 1028
    assert all(texts[d] == Document(d, d.upper(), f"text of {d}.") for d in changed.docids())
    # The second ten took the first ten into their file; of those after them each is smaller than the one before.
    assert [len(Texts([path])) for path in texts.files] == [998, 18, 10, 2]
    assert b"text of d3." not in texts.files[0].read_bytes()  # deleted means gone from the disk


def test_texts_that_do_not_go_with_the_documents_are_refused(index, tmp_path):
    before, more = contents(index.path), added(tmp_path, "e", 2, 4)
    some = texts_file(tmp_path, ["d1", "d2"])
    with pytest.raises(IndexFolderError, match="keeps no texts"):
        change_index(index, more, texts=some)
    with pytest.raises(CollectionError, match="lacks 998 documents of the index, such as 'd0'"):
        keep_texts(index, some)
    assert contents(index.path) == before and not (index.path / "texts").exists()
    keep_texts(index, texts_file(tmp_path, [f"d{i}" for i in range(1000)]))
    with pytest.raises(IndexFolderError, match="keeps texts; give the collection of the new documents"):
        change_index(IndexFolder(index.path), more)
    with pytest.raises(CollectionError, match="lacks 2 documents"):
        change_index(IndexFolder(index.path), more, texts=some)
    assert len(texts_of(IndexFolder(index.path, verify=True))) == 1000

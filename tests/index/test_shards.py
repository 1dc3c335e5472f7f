"""An index in shards: the results of the unsharded one bit for bit, and what is refused."""

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

import pyserini_jpq as jpq
from pyserini_jpq.data.collection import Document
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import EncoderError, IndexFolderError, QuantizerError
from pyserini_jpq.index import ivf
from pyserini_jpq.index.build_shards import build_shards
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.encoders import UNKNOWN
from pyserini_jpq.index.faiss_format import stored_codes
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf_file import write_ivf
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.index.shards import ShardedIndex
from pyserini_jpq.index.shards_change import add_shard, change, drop_shard, replace_shard
from pyserini_jpq.index.shards_file import SHARDS
from pyserini_jpq.scan.scanner import KERNEL_VARIABLE
from pyserini_jpq.search.engines.shards import ShardsEngine
from pyserini_jpq.search.open import open_index
from tests.conftest import make_embeddings, run

pytestmark = pytest.mark.integration
D = 16


def vectors_of(documents, seed):
    """Vectors of which many are equal, so that scores are, too."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(documents, D)).astype(np.float32)[rng.integers(0, documents, documents)]


def docids_of(documents, first=0):
    return [f"d{i}" for i in range(first, first + documents)]


@pytest.fixture(scope="module", params=[(900, 8), (900, 4), (1400, 4), (12_000, 8)], ids=str)
def of_size(request, tmp_path_factory):
    """Embeddings and their index; too few documents for the compiled scan or enough, of 8 and 4 bits."""
    documents, bits = request.param
    folder = tmp_path_factory.mktemp("sizes")
    make_embeddings(folder / "e", vectors_of(documents, 1), docids_of(documents), rows=500)
    options = jpq.IndexOptions(m=8, bits=bits, sample=300)
    jpq.build_index(folder / "e", folder / "whole", options=options)
    for shards in (1, 2, 7):
        source = None if shards == 2 else folder / "whole"  # of the same quantizer, which takes the time
        in_shards = replace(options, shards=shards)
        jpq.build_index(folder / "e", folder / f"in-{shards}", options=in_shards, quantizer_of=source)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An index of 600 documents with its texts, and in three shards."""
    folder = tmp_path_factory.mktemp("small")
    make_embeddings(folder / "e", vectors_of(600, 1), docids_of(600), rows=500)
    lines = [json.dumps({"id": docid, "text": f"text of {docid}"}) for docid in docids_of(600)]
    (folder / "c.jsonl").write_text("\n".join(lines))
    for name, shards in (("whole", None), ("x", 3)):
        options = jpq.IndexOptions(m=4, shards=shards)
        jpq.build_index(folder / "e", folder / name, options=options, texts=folder / "c.jsonl")
    return folder


@pytest.fixture
def x(small, tmp_path):
    shutil.copytree(small / "x", tmp_path / "x")
    return tmp_path / "x"


def found(folder, k=50, **how):
    engine = open_index(folder, **how)
    queries = np.random.default_rng(9).normal(size=(5, D)).astype(np.float32)
    scores, rows = engine.search(queries, k, threads=2)
    return scores, rows, engine.reconstruct(rows)


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a, b, equal_nan=True)


@pytest.mark.parametrize("scan", ["on", "off"])
@pytest.mark.parametrize("shards", [1, 2, 7])
def test_any_number_of_shards_finds_what_the_whole_finds(of_size, shards, scan, monkeypatch):
    if scan == "off":
        monkeypatch.setenv(KERNEL_VARIABLE, "off")
    for k in (1, 50, 2000):
        right = found(of_size / "whole", k)
        assert np.unique(right[0][0, : k // 2]).size < max(2, k // 2)  # ties
        assert_same(found(of_size / f"in-{shards}", k), right)
    codes = np.concatenate([stored(part) for part in open_folder(of_size / f"in-{shards}").parts])
    assert np.array_equal(codes, stored(IndexFolder(of_size / "whole")))


def stored(folder):
    index = folder.read()
    return stored_codes(index, "x").copy()


@pytest.mark.parametrize("scan", ["on", "off"])
def test_lists_are_those_of_the_whole(of_size, tmp_path, scan, monkeypatch, capsys):
    monkeypatch.setattr(ivf, "_BLOCK", 64)
    if scan == "off":
        monkeypatch.setenv(KERNEL_VARIABLE, "off")
    right = found(of_size / "whole", ivf=20, nprobe=3)
    assert not np.array_equal(right[1], found(of_size / "whole")[1])
    for shards in (1, 7):
        shutil.copytree(of_size / f"in-{shards}", x := tmp_path / f"{shards}")
        assert_same(found(x, ivf=20, nprobe=3), right)  # made in memory
        assert run("index", "--index", x, "--ivf", 20) == 0
        assert f"in 20 lists: {x}" in capsys.readouterr().err
        assert_same(found(x, nprobe=3), right)
        assert_same(found(x, nprobe=20), found(of_size / "whole"))


def test_lists_of_a_single_shard_alone_are_named(of_size, tmp_path):
    shutil.copytree(of_size / "in-2", x := tmp_path / "x")
    with pytest.raises(jpq.JPQError, match="has no inverted lists"):
        open_index(x, nprobe=2)
    for part, lists in zip(open_folder(x).parts, (10, 12), strict=True):
        write_ivf(part, lists)
    with pytest.raises(IndexFolderError, match=r"shard-00001 are others than those of .*shard-00000"):
        open_index(x, nprobe=2)


def test_many_documents_are_scanned_shard_by_shard(of_size):
    documents = open_folder(of_size / "whole").manifest
    engine = open_index(of_size / "in-7")
    assert isinstance(engine, ShardsEngine) == (documents.documents >= (1000 if documents.bits == 4 else 10_000))
    again = pickle.loads(pickle.dumps(engine))
    query = np.ones((1, D), np.float32)
    assert_same(again.search(query, 9), engine.search(query, 9))


def test_the_api_finds_docids_and_texts_of_all_shards(small, x):
    index, whole = jpq.Index(x, verify=True), jpq.Index(small / "whole")
    query = np.ones(D, np.float32)
    hits = index.search(query, 30)
    assert [(h.docid, h.score, h.text) for h in hits] == [(h.docid, h.score, h.text) for h in whole.search(query, 30)]
    assert list(index.docids) == list(whole.docids) and len(index) == 600
    assert index.docids[-1] == "d599" and index.docids[198:203] == docids_of(5, 198)
    assert pickle.loads(pickle.dumps(index.docids)).checksum() == index.docids.checksum()
    assert index.texts["d599"] == Document("d599", "", "text of d599") and len(index.texts) == 600
    assert pickle.loads(pickle.dumps(index)).search(query)[0].docid == hits[0].docid
    assert {h.docid for part in index._now.folder.parts for h in jpq.Index(part.path).search(query, 200)} == set(
        whole.docids
    )


def test_changes_are_those_of_the_whole(small, x, tmp_path):
    shutil.copytree(small / "whole", tmp_path / "whole")
    for name in ("x", "whole"):
        assert run("index", "--index", tmp_path / name, "--ivf", 5) == 0
    more = make_embeddings(tmp_path / "more", vectors_of(40, 5), docids_of(40, 590))
    lines = [json.dumps({"id": docid, "text": f"new {docid}"}) for docid in docids_of(40, 590)]
    (tmp_path / "more.jsonl").write_text("\n".join(lines))
    gone = [*docids_of(200), "d300", "d301"]  # a whole shard, and some of the second
    done = [
        change(open_folder(tmp_path / name), Embeddings(more), gone, True, texts=tmp_path / "more.jsonl")
        for name in ("x", "whole")
    ]
    assert vars(done[0]) | {"dropped": 0} == vars(done[1]) | {"dropped": 0} and done[0].replaced == 10
    assert done[0].dropped == () and found(x, nprobe=5)  # lists were made again by the same directions
    assert_same(found(x, 500), found(tmp_path / "whole", 500))
    index = jpq.Index(x)
    assert list(index.docids) == list(jpq.Index(tmp_path / "whole").docids)
    assert index.texts["d595"].text == "new d595" and index.texts.get("d300") is None
    assert [part.path.name for part in open_folder(x).parts] == ["shard-00003", "shard-00004"]
    assert sorted(p.name for p in x.iterdir()) == ["shard-00003", "shard-00004", SHARDS]
    before = (x / SHARDS).read_bytes()
    for wrong in (["d302", "none"], list(index.docids)):
        with pytest.raises(IndexFolderError, match="no document"):
            change(open_folder(x), delete=wrong)
    with pytest.raises(IndexFolderError, match=r"holds document 'd590' .and 39 others. already"):
        change(open_folder(x), Embeddings(more), texts=tmp_path / "more.jsonl")
    assert (x / SHARDS).read_bytes() == before and len(list(x.iterdir())) == 3
    assert index.delete(["d303"]).documents == len(index) == 427


def test_a_shard_is_added_replaced_and_dropped(small, x, tmp_path, capsys):
    assert run("index", "--index", x, "--ivf", 5) == 0
    more = make_embeddings(tmp_path / "more", vectors_of(300, 5), docids_of(300, 600))
    lines = [json.dumps({"id": docid, "text": docid}) for docid in docids_of(300, 600)]
    (tmp_path / "more.jsonl").write_text("\n".join(lines))
    built = ("index", "--embeddings", more, "--from", x)
    assert run(*built, "--output", tmp_path / "new") == 0
    assert run("index", "--index", x, "--add-shard", tmp_path / "new") == 2
    assert "keeps the texts" in capsys.readouterr().err
    assert run(*built, "--output", tmp_path / "new", "--overwrite", "--texts", tmp_path / "more.jsonl") == 0
    assert run("index", "--index", x, "--add-shard", tmp_path / "new") == 0
    assert "900 documents in 4 shards" in capsys.readouterr().err
    change_index(IndexFolder(tmp_path / "new"), delete=["d600"])  # the copy is not touched
    everything = np.concatenate([vectors_of(600, 1), vectors_of(300, 5)])
    make_embeddings(tmp_path / "all", everything, docids_of(900))
    jpq.build_index(tmp_path / "all", tmp_path / "whole", quantizer_of=small / "whole")
    assert_same(found(x), found(tmp_path / "whole"))
    assert_same(found(x, nprobe=5), found(tmp_path / "whole"))
    assert jpq.Index(x, verify=True).texts["d700"].text == "d700"

    assert run("index", "--index", x, "--add-shard", tmp_path / "new") == 2
    assert "twice; every document needs its own" in capsys.readouterr().err
    shutil.rmtree(x / "shard-00001")
    with pytest.raises(IndexFolderError, match=r"^shard-00001 of .*x: .*shard-00001 is no folder"):
        jpq.Index(x)
    assert run("index", "--index", x, "--drop-shard", "shard-00003") == 2  # another one is missing still
    replace_shard(x, "shard-00001", tmp_path / "new")
    index = jpq.Index(x)
    assert len(index) == 699 and list(index.docids)[199:201] == ["d199", "d601"]
    assert len(drop_shard(x, "shard-00000").parts) == 2
    with pytest.raises(IndexFolderError, match="has no shard 'shard-00000'; its shards are shard-00003, shard-00002"):
        drop_shard(x, "shard-00000")
    assert len(drop_shard(x, "shard-00003").parts) == 1
    with pytest.raises(IndexFolderError, match="no other shard"):
        drop_shard(x, "shard-00002")


def test_embeddings_without_a_known_encoder_are_indexed_in_shards(tmp_path):
    make_embeddings(tmp_path / "e", vectors_of(900, 4), docids_of(900), encoder=UNKNOWN)
    options = jpq.IndexOptions(m=4, sample=300)
    whole = jpq.build_index(tmp_path / "e", tmp_path / "whole", options=options)
    shards = jpq.build_index(tmp_path / "e", tmp_path / "x", options=replace(options, shards=3))
    assert shards.manifest.documents == whole.manifest.documents == 900
    with pytest.raises(EncoderError, match="was imported without the weights"):
        jpq.build_index(tmp_path / "e", tmp_path / "y", options=replace(options, shards=3), quantizer_of=tmp_path / "x")
    assert not (tmp_path / "y").exists()


def test_an_index_of_another_quantizer_is_no_shard(small, x, tmp_path):
    more = make_embeddings(tmp_path / "more", vectors_of(300, 5), docids_of(300, 600))
    jpq.build_index(more, tmp_path / "other", options=jpq.IndexOptions(m=4))
    before = (x / SHARDS).read_bytes()
    with pytest.raises(IndexFolderError, match="other is of another quantizer than"):
        add_shard(x, tmp_path / "other")
    with pytest.raises(IndexFolderError, match="in shards itself"):
        add_shard(x, small / "x")
    with pytest.raises(IndexFolderError, match=f"is no index in shards: {SHARDS} is missing"):
        add_shard(tmp_path / "other", small / "whole")
    assert (x / SHARDS).read_bytes() == before and len(list(x.iterdir())) == 4


def test_an_interrupted_build_goes_on(small, tmp_path, monkeypatch):
    from pyserini_jpq.index import build_shards as module

    built, build_from = [], module.build_from

    def interrupted(quantizer, part, folder, *rest):
        if len(built) in (2, 4):
            raise KeyboardInterrupt
        built.append(folder.name)
        build_from(quantizer, part, folder, *rest)

    monkeypatch.setattr(module, "build_from", interrupted)
    options = jpq.IndexOptions(m=4, shards=4)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            build_shards(Embeddings(small / "e"), options, tmp_path / "x")
        assert not (tmp_path / "x").exists()
        built.append("interrupted")
    monkeypatch.setattr(module, "build_from", lambda *a: built.append(a[2].name) or build_from(*a))
    build_shards(Embeddings(small / "e"), options, tmp_path / "x")
    assert built == ["shard-00000", "shard-00001", "interrupted", "shard-00002", "interrupted", "shard-00003"]
    assert_same(found(tmp_path / "x"), found(small / "whole"))
    with pytest.raises(jpq.JPQError, match="exists already"):
        jpq.build_index(small / "e", tmp_path / "x", options=options)
    jpq.build_index(small / "e", tmp_path / "x", options=jpq.IndexOptions(m=4), overwrite=True)
    assert isinstance(jpq.build_index(small / "e", tmp_path / "x", options=options, overwrite=True), ShardedIndex)
    with pytest.raises(QuantizerError, match="600 documents for 601 shards"):
        jpq.build_index(small / "e", tmp_path / "y", options=jpq.IndexOptions(m=4, shards=601))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("documents", 601),
        ("schema", 2),
        ("m", 0),
        ("files", {}),
        ("more", 1),
        ("shards", []),
        ("shards", {}),
        ("name", "../x"),
        ("name", "/x"),
        ("name", "shard-00001"),
        ("name", "shard-00001\n"),
        ("inner", 1),
    ],
)
def test_what_the_list_may_not_say(x, field, value):
    values = json.loads((x / SHARDS).read_text())
    (values["shards"][0] if field in ("name", "inner") else values)[field] = value
    (x / SHARDS).write_text(json.dumps(values))
    with pytest.raises(IndexFolderError, match=SHARDS):
        jpq.Index(x)


@pytest.mark.parametrize("damage", ["truncate", "swap", "change", "link", "another"])
def test_a_damaged_shard_is_named(x, small, tmp_path, damage):
    shard = x / "shard-00001"
    if damage == "truncate":
        (shard / "index").write_bytes((shard / "index").read_bytes()[:-1])
    elif damage == "swap":
        shard.rename(x / "y"), (x / "shard-00000").rename(shard), (x / "y").rename(x / "shard-00000")
    elif damage == "change":
        change_index(IndexFolder(shard), delete=["d200"])
    elif damage == "link":
        shard.rename(tmp_path / "y"), shard.symlink_to(tmp_path / "y")
    else:
        shutil.rmtree(shard), shutil.copytree(small / "whole", shard)
    with pytest.raises(IndexFolderError, match=r"^shard-0000[01] of .*x: .*--drop-shard shard-0000[01]"):
        jpq.Index(x)


def test_what_needs_one_folder_says_so(x, tmp_path, capsys):
    assert run("train", "--index", x, "--topics", "t", "--qrels", "q", "--output", tmp_path / "y") == 2
    with pytest.raises(IndexFolderError, match="in 3 shards, which cannot be used here; give one of them, such as"):
        open_folder(x).read()

"""What engines refuse and answer alike, whatever their size; and that none of it needs a JVM."""

import subprocess
import sys

import numpy as np
import pytest

from pyserini_jpq.errors import JPQError, QuantizerError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf_file import write_ivf
from pyserini_jpq.search import open as opening
from pyserini_jpq.search.open import open_index
from tests.conftest import make_embeddings, make_index

N, D = 400, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    vectors = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    folder = make_index(tmp_path_factory.mktemp("open") / "x", vectors, [f"d{i}" for i in range(N)])
    make_embeddings(folder.parent / "e", vectors, [f"d{i}" for i in range(N)])
    write_ivf(IndexFolder(folder), 10)
    return folder


@pytest.fixture(params=["faiss", "scan", "lists", "flat", "torch"])
def engine(request, folder, monkeypatch):
    from pyserini_jpq.encode import precision

    monkeypatch.setattr(opening, "SCAN_FROM", 1 if request.param == "scan" else N + 1)
    monkeypatch.setattr(precision, "resolve_device", lambda name: "cpu")
    return {
        "flat": lambda: open_index(folder.parent / "e"),
        "torch": lambda: open_index(folder, device="cuda:0"),
        "lists": lambda: open_index(folder, nprobe=4),
    }.get(request.param, lambda: open_index(str(folder)))()


@pytest.mark.unit
def test_all_engines_answer_alike(engine):
    queries = np.random.default_rng(1).normal(size=(3, D)).astype(np.float32)
    assert (engine.documents, engine.dimension) == (N, D)
    scores, rows = engine.search(queries, 5)
    for k, threads in ((np.int64(5), 1), (5, np.int32(1)), (5, 100_000)):
        found = engine.search(queries.astype(np.float64), k, threads)
        assert np.array_equal(found[1], rows) and np.allclose(found[0], scores, atol=1e-5)
    assert (scores.dtype, rows.dtype, rows.shape) == (np.float32, np.int64, (3, 5))
    none = engine.search(np.empty((0, D)), 5)
    assert [(part.shape, part.dtype) for part in none] == [((0, 5), np.float32), ((0, 5), np.int64)]
    scores, rows = engine.search(queries, N + 3)
    assert (rows[:, -3:] == -1).all() and (scores[:, -3:] == np.finfo(np.float32).min).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    vectors = engine.reconstruct(rows)
    assert vectors.shape == (3, N + 3, D) and np.array_equal(np.isnan(vectors).all(2), rows < 0)
    assert np.allclose((vectors[:, :5] * queries[:, None]).sum(2), scores[:, :5], atol=1e-4)
    assert engine.reconstruct(np.array([], dtype=np.int64)).shape == (0, D)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        (np.zeros((2, D + 1)), 5, r"shape \(2, 17\); the index has 16 dimensions"),
        (np.zeros(D), 5, r"shape \(16,\)"),
        (None, 5, "the queries are no numbers"),
        (["a text"], 5, "the queries are no numbers"),
        (np.full((1, D), np.nan), 5, "NaN or infinite"),
        (np.zeros((1, D)), 0, "both must be at least 1"),
        (np.zeros((1, D)), 2.5, "k is 2.5; give a whole number"),
        (np.zeros((0, D)), None, "k is None; give a whole number"),
    ],
)
def test_what_cannot_be_is_one_line(engine, queries, k, message):
    with pytest.raises(QuantizerError, match=message) as caught:
        engine.search(queries, k)
    assert "\n" not in str(caught.value)


@pytest.mark.unit
def test_lists_and_devices_that_are_not_there(folder):
    with pytest.raises(JPQError, match="on the CPU only"):
        open_index(folder, device="cuda:0", nprobe=3)
    with pytest.raises(JPQError, match="need an index"):
        open_index(folder.parent / "e", nprobe=3)
    with pytest.raises(JPQError, match="no folder"):
        open_index(folder.parent / "nowhere" / "x")


@pytest.mark.integration
@pytest.mark.parametrize("size", ["small", "large"])
def test_searchers_answer_alike_at_every_size(built, size, monkeypatch):
    from pyserini_jpq import JPQFaissSearcher

    monkeypatch.setattr(opening, "SCAN_FROM", 1 if size == "large" else 1000)
    searcher = JPQFaissSearcher(built / "x.jpq-m4")
    dimension = searcher.dimension
    expected = searcher.search("bado kefa", 3)
    assert searcher.search("bado kefa", np.int64(3)) == expected
    assert searcher.search({"query": "bado kefa"}, 3) == expected
    assert searcher.search("bado kefa", 3, threads=100_000) == expected
    assert len(searcher.search("bado kefa", 3, 100_000, return_vector=True)[1]) == 3
    assert searcher.search(np.empty((0, dimension), dtype=np.float32), 3) == []
    assert searcher.batch_search(np.empty((0, dimension), dtype=np.float32), [], 3) == {}
    for query, message in ((None, "the query None is no text"), (5, "shape"), (["a"], "no numbers"), ("", "is empty")):
        with pytest.raises(JPQError, match=message):
            searcher.search(query)
    for queries, ids, message in ((None, [], "are None"), ([None], ["q"], "None is no text"), (["a"], [], "1 queries")):
        with pytest.raises(JPQError, match=message):
            searcher.batch_search(queries, ids)
    with pytest.raises(JPQError, match="whole number"):
        searcher.search("bado", k=2.5)


@pytest.mark.integration
def test_search_needs_no_jvm(built):
    code = f"""
import sys
from pyserini_jpq.encode.queries import QueryVectors
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.encoders import query_encoder_source
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.search.hits import hits_of
from pyserini_jpq.search.open import open_index
folder = IndexFolder({str(built / "x.jpq-m4")!r})
vectors = QueryVectors(query_encoder_source(folder)).encode(["bado kefa", "bado"])
docids = Docids(folder.path / "docid", folder.manifest.documents)
hits = list(hits_of(open_index(folder), docids.at, vectors, 4, 1, lambda docid, score: (docid, float(score))))
assert [len(of_query) for of_query in hits] == [4, 4], hits
print(sorted({{"pyserini", "jnius"}} & set(sys.modules)), *hits[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    from pyserini_jpq import JPQFaissSearcher

    expected = [(hit.docid, float(hit.score)) for hit in JPQFaissSearcher(built / "x.jpq-m4").search("bado kefa", 4)]
    words = done.stdout.split(" ", 1)
    assert words[0] == "[]", done.stderr
    assert [docid for docid, _ in expected] == [part.split("'")[1] for part in words[1].split("(")[1:]]

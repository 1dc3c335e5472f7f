"""Every engine: what it finds, that it finds the same when saved and loaded, and that a call by hand agrees."""

from dataclasses import replace

import faiss
import numpy as np
import pytest

from pyserini_jpq.compare.baselines.base import Settings
from pyserini_jpq.compare.baselines.faiss import turboquant_bits
from pyserini_jpq.compare.baselines.registry import ENGINES, UNMAINTAINED, named_baselines
from pyserini_jpq.errors import JPQError, QuantizerError, how_to_install
from pyserini_jpq.evaluate.metrics import Metrics

pytestmark = pytest.mark.integration

# faiss's own seed, so that an index made by hand without one is the same.
SETTINGS = Settings(bytes_per_document=16, seed=1234)


def exact(vectors, queries, k):
    return np.argsort(-queries @ vectors.T, axis=1, kind="stable")[:, :k]


def overlap(rows, best):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(rows, best, strict=True)])


@pytest.mark.parametrize("name", list(ENGINES))
def test_finds_the_same_after_saving(name, vectors, queries, supervision, tmp_path, monkeypatch):
    monkeypatch.setattr("pyserini_jpq.compare.baselines.dpq_training.STEPS", 20)
    monkeypatch.setattr("pyserini_jpq.compare.baselines.additive.LSQ_ITERATIONS", 1)
    engine = ENGINES[name]
    pytest.importorskip(engine.module)
    built = engine.build(vectors, replace(SETTINGS, supervision=supervision))
    built.save(tmp_path)
    loaded = engine.load(tmp_path)
    for index in (built, loaded):
        if engine.parameters:
            index.set_parameter(engine.parameters[-1])
    scores, rows = built.search(queries, 10)
    again = loaded.search(queries, 10)
    assert rows.shape == (60, 10) and rows.dtype == np.int64 and scores.dtype == np.float32
    np.testing.assert_array_equal(rows, again[1])
    np.testing.assert_allclose(scores, again[0], rtol=1e-5)
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    # Ten of 600 at random would share a sixtieth.
    assert overlap(rows, exact(vectors, queries, 10)) > 0.3
    bytes_on_disk = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert bytes_on_disk >= len(vectors) * engine.code_bytes(32, 16)


@pytest.mark.parametrize("name", [name for name, engine in ENGINES.items() if engine.parameters])
def test_looking_at_more_finds_more(name, vectors, queries):
    engine = ENGINES[name]
    pytest.importorskip(engine.module)
    built = engine.build(vectors, SETTINGS)
    found = []
    for value in (engine.parameters[0], engine.parameters[-1]):
        built.set_parameter(value)
        found.append(overlap(built.search(queries, 1)[1], exact(vectors, queries, 1)))
    assert found[0] <= found[1] and found[1] > 0.5


def pq_by_hand(vectors):
    index = faiss.IndexPQ(32, 16, 8, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


def int8_by_hand(vectors):
    index = faiss.index_factory(32, "SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


def lsh_by_hand(vectors):
    index = faiss.IndexLSH(32, 128, True)
    index.train(vectors)
    index.add(vectors)
    return index


def hnsw_by_hand(vectors):
    index = faiss.index_factory(32, "HNSW32,Flat", faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.hnsw.efSearch = 64
    index.add(vectors)
    return index


def scored(rows, scores, vectors):
    qrels = {f"q{i}": {f"d{i}": 3, f"d{i + 60}": 1} for i in range(60)}
    run = {
        f"q{i}": {f"d{row}": float(score) for row, score in zip(*pair, strict=True)}
        for i, pair in enumerate(zip(rows, scores, strict=True))
    }
    return {name: values.mean() for name, values in Metrics(["nDCG@10", "R@10"]).per_query(qrels, run).items()}


@pytest.mark.parametrize(
    ("name", "by_hand", "sign"),
    [("pq", pq_by_hand, 1), ("int8", int8_by_hand, 1), ("lsh", lsh_by_hand, -1), ("hnsw", hnsw_by_hand, 1)],
)
def test_agrees_with_a_call_by_hand(name, by_hand, sign, vectors, queries):
    built = ENGINES[name].build(vectors, SETTINGS)
    if ENGINES[name].parameters:
        built.set_parameter(64)
    scores, rows = built.search(queries, 10)
    hand_scores, hand_rows = by_hand(vectors).search(queries, 10)
    ours, hand = scored(rows, scores, vectors), scored(hand_rows, sign * hand_scores, vectors)
    assert ours == pytest.approx(hand, abs=0.003)
    assert 0.1 < hand["nDCG@10"] < 1


def test_hnswlib_agrees_with_a_call_by_hand(vectors, queries):
    hnswlib = pytest.importorskip("hnswlib")
    built = ENGINES["hnswlib"].build(vectors, SETTINGS)
    built.set_parameter(64)
    scores, rows = built.search(queries, 10)
    index = hnswlib.Index("ip", 32)
    index.init_index(600, ef_construction=200, M=16)
    index.add_items(vectors, num_threads=1)
    index.set_ef(64)
    hand_rows, distances = index.knn_query(queries, 10)
    assert scored(rows, scores, vectors) == pytest.approx(scored(hand_rows, 1 - distances, vectors), abs=0.003)


def test_the_rotation_is_trained_once(vectors, tmp_path):
    settings = Settings(4, 1, tmp_path)
    first = ENGINES["opq"].build(vectors, settings)
    stamp = (tmp_path / "opq-4.npy").stat().st_mtime_ns
    second = ENGINES["opq"].build(vectors, settings)
    assert (tmp_path / "opq-4.npy").stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.search(vectors[:9], 5)[1], second.search(vectors[:9], 5)[1])


@pytest.mark.parametrize(
    ("name", "size", "part"), [("pq", 5, "do not divide"), ("opq", 5, "do not divide"), ("rabitq", 8, "more than that")]
)
def test_sizes_that_cannot_be(name, size, part, vectors):
    with pytest.raises(QuantizerError, match=part):
        ENGINES[name].build(vectors, Settings(size))
    with pytest.raises(QuantizerError):
        ENGINES["pq"].build(vectors[:255], SETTINGS)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert ENGINES["annoy"].missing() == f"needs annoy: {how_to_install('baselines')}"
    with pytest.raises(JPQError, match="nothing"):
        named_baselines("nothing")
    assert not set(UNMAINTAINED) & set(ENGINES)


@pytest.mark.parametrize(
    ("size", "kept", "bits"), [(12, 96, 1), (36, 288, 1), (48, 384, 1), (64, 256, 2), (96, 384, 2), (400, 384, 4)]
)
def test_turboquant_fills_its_bytes_with_the_fewest_bits(size, kept, bits):
    assert turboquant_bits(384, size) == (kept, bits)
    assert ENGINES["turboquant"].code_bytes(384, size) == min(size, 192)


def test_a_faiss_without_turboquant(vectors, monkeypatch):
    def old(*_):
        raise RuntimeError("could not parse index string PCAR32,SQtqmse4")

    monkeypatch.setattr(faiss, "index_factory", old)
    with pytest.raises(QuantizerError, match="this version of faiss has no TurboQuant"):
        ENGINES["turboquant"].build(vectors, SETTINGS)


@pytest.mark.parametrize("name", ["rq", "lsq"])
def test_additive_codes_need_half_of_the_documents_for_their_centroids(name, vectors):
    with pytest.raises(QuantizerError, match="255 documents are fewer than the 256 centroids"):
        ENGINES[name].build(vectors[:510], SETTINGS)

"""Additive codes: the sums of several codebooks, from training to the stock searcher."""

import dataclasses
import gc
import itertools
import weakref

import faiss
import numpy as np
import pytest
import torch

from pyserini_jpq import Index
from pyserini_jpq.convert.foreign import read_foreign
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.index import additive, additive_training
from pyserini_jpq.index.additive import AdditiveAssigner
from pyserini_jpq.index.additive_scoring import scoring_quantizer
from pyserini_jpq.index.additive_training import train_additive
from pyserini_jpq.index.assign import assigning_quantizer
from pyserini_jpq.index.build import build_from, build_opq
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.faiss_format import from_faiss, stored_codes, to_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf import build_ivf, set_nprobe
from pyserini_jpq.index.opq import default_parts, train_opq
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.run import build_index
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.scan import available
from pyserini_jpq.search.engines.scan import ScanEngine
from tests.conftest import make_embeddings, run

D = 16
SHAPES = [
    (4, 1, 256, False),
    (4, 1, 256, True),
    (4, 2, 256, True),
    (4, 4, 256, True),
    (8, 1, 16, True),
    (6, 2, 16, True),
]


def random_quantizer(m, parts, k, biased, seed=0):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0].astype(np.float32)
    centroids = rng.normal(size=(m, k, D // parts)).astype(np.float32)
    return ProductQuantizer(rotation, centroids, rng.normal(size=(m, k)).astype(np.float32) if biased else None)


def clustered(rows, seed):
    """Vectors near sums of a few directions, as embeddings are."""
    rng = np.random.default_rng(seed)
    mixed = np.random.default_rng(9).normal(size=(D, D)) * np.linspace(2, 0.1, D)
    return (rng.normal(size=(rows, D)) @ mixed.T + rng.laplace(size=(rows, D)) * 0.1).astype(np.float32)


@pytest.mark.unit
@pytest.mark.parametrize(("m", "parts", "k", "biased"), SHAPES)
def test_faiss_ranks_by_sums_of_centroids(m, parts, k, biased):
    quantizer = random_quantizer(m, parts, k, biased)
    codes = np.random.default_rng(1).integers(0, k, (500, m), dtype=np.uint8)
    queries = np.random.default_rng(2).normal(size=(3, D)).astype(np.float32)
    # By hand: each part of a document is the sum of one centroid of each of the part's codebooks.
    books = m // parts
    documents = np.zeros((500, D), np.float64)
    for row, part in itertools.product(range(500), range(parts)):
        own = [quantizer.centroids[j, codes[row, j]] for j in range(part * books, (part + 1) * books)]
        documents[row, part * D // parts : (part + 1) * D // parts] = np.sum(own, axis=0)
    scores = (queries @ quantizer.rotation.T) @ documents.T
    if biased:
        scores += quantizer.biases[np.arange(m), codes].sum(axis=1)
    assert np.allclose(quantizer.decode(codes), documents, atol=1e-5)
    assert np.allclose(quantizer.score(queries, codes), scores, atol=1e-4)
    order = np.argsort(-scores, axis=1)[:, :10]
    index = faiss.deserialize_index(faiss.serialize_index(to_faiss(quantizer, codes)))
    assert np.array_equal(index.search(queries, 10)[1], order)
    if available():
        engine = ScanEngine(index, "x")
        for few in (queries, queries[:1]):  # one query has its lookup tables in another way
            found, rows = engine.search(few, 10)
            assert np.array_equal(rows, order[: len(few)])
            assert np.allclose(found, np.take_along_axis(scores, order, 1)[: len(few)], atol=1e-4)
    read, kept = from_faiss(index, "x")
    assert np.array_equal(kept, codes) and read.parts == parts
    for name in ("rotation", "centroids", "biases"):
        assert np.array_equal(getattr(read, name), getattr(quantizer, name))
    lists = build_ivf(index, "x", 8)
    set_nprobe(lists, 8)
    assert np.array_equal(lists.search(queries, 10)[1], order)


def unit_length(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def with_levels(quantizer, levels):
    centroids = quantizer.centroids.copy()
    centroids[-1] = 0
    centroids[-1, :, 0] = levels
    return dataclasses.replace(quantizer, centroids=centroids, biases=None)


@pytest.mark.unit
def test_a_wide_beam_finds_the_nearest_sum_and_the_level_of_its_norm():
    levels = np.random.default_rng(5).uniform(0.1, 1, 16)  # in any order
    quantizer = with_levels(random_quantizer(3, 1, 16, False), levels)
    vectors = clustered(40, 0)
    sums = (quantizer.centroids[0][:, None] + quantizer.centroids[1][None]).reshape(256, D)
    nearest = ((quantizer.rotate(vectors)[:, None] - sums) ** 2).sum(-1).argmin(axis=1)
    kept = (sums[nearest] ** 2).sum(axis=1) / (vectors**2).sum(axis=1)
    expected = [nearest // 16, nearest % 16, np.abs(kept[:, None] - levels).argmin(axis=1)]
    assert np.array_equal(AdditiveAssigner(quantizer, beam=16).assign(vectors), np.stack(expected, axis=1))


@pytest.mark.unit
def test_codes_do_not_depend_on_how_rows_are_grouped():
    quantizer = with_levels(random_quantizer(8, 2, 256, True), np.linspace(0.1, 1.05, 256))
    vectors = clustered(700, 1)
    assigner = AdditiveAssigner(quantizer)
    whole = assigner.assign(vectors)
    for size in (1, 7, 300):
        parts = [assigner.assign(vectors[start : start + size]) for start in range(0, 700, size)]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.fixture(scope="module")
def trained():
    return train_additive(clustered(1500, 2), 5, 1, 4, 7)


@pytest.mark.unit
@pytest.mark.parametrize("threads", [1, 2])
def test_torch_has_no_more_threads_than_faiss(monkeypatch, threads):
    had, seen = [], additive.Part.codes
    monkeypatch.setattr(additive.Part, "codes", lambda *given: (had.append(torch.get_num_threads()), seen(*given))[1])
    before, limit = torch.get_num_threads(), faiss.omp_get_max_threads()
    try:
        torch.set_num_threads(2)
        faiss.omp_set_num_threads(threads)
        own = torch.get_num_threads()  # of torch alone, or of both where they share one OpenMP
        AdditiveAssigner(random_quantizer(4, 1, 256, False)).assign(clustered(10, 1))
        assert had == [threads] and torch.get_num_threads() == own
    finally:
        torch.set_num_threads(before)
        faiss.omp_set_num_threads(limit)


@pytest.mark.unit
def test_unseen_vectors_are_nearer_than_by_a_product_quantizer(trained):
    unseen, product = clustered(500, 3), train_opq(clustered(1500, 2), 4, 4, 7, rounds=10)
    errors = [
        ((quantizer.rotate(unseen) - quantizer.decode(codes)) ** 2).sum()
        for quantizer, codes in (
            (trained, AdditiveAssigner(trained).assign(unseen)),
            (product, product.assign(unseen)),
        )
    ]
    assert errors[0] < 0.95 * errors[1]


@pytest.mark.unit
def test_interrupted_training_goes_on_to_the_same_codebooks(tmp_path, monkeypatch, trained):
    state, add = tmp_path / "opq.npz", additive_training._Training.add
    calls = []

    def interrupted(self, number):
        calls.append(number)
        if calls == [0, 1, 2]:
            raise KeyboardInterrupt
        add(self, number)

    monkeypatch.setattr(additive_training._Training, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_additive(clustered(1500, 2), 5, 1, 4, 7, state=state)
    again = train_additive(clustered(1500, 2), 5, 1, 4, 7, state=state)
    assert calls == [0, 1, 2, 2, 3] and np.array_equal(again.centroids, trained.centroids)


@pytest.mark.unit
def test_biases_offset_what_short_reconstructions_lose():
    documents = unit_length(clustered(4000, 8))
    queries = unit_length(documents[:300] + 0.6 * unit_length(clustered(300, 10)))
    trained = train_additive(unit_length(clustered(3000, 2)), 3, 1, 8, 7, rounds=1)
    scoring, codes = scoring_quantizer(trained, documents, 3), AdditiveAssigner(trained).assign(documents)
    assert not scoring.centroids[-1].any() and np.array_equal(scoring.centroids[:-1], trained.centroids[:-1])
    norms = (scoring.decode(codes) ** 2).sum(axis=1)
    biases = scoring.biases[np.arange(scoring.m), codes].sum(axis=1)
    assert np.corrcoef(norms, -biases)[0, 1] > 0.9 and not scoring.biases[:-1].any()
    exact = np.argsort(-queries @ documents.T)[:, :10]
    shared = [
        sum(len(set(a) & set(b)) for a, b in zip(exact, quantizer.search(queries, codes, 10)[1], strict=True))
        for quantizer in (scoring, dataclasses.replace(scoring, biases=None))
    ]
    assert shared[0] > 1.1 * shared[1]


@pytest.mark.unit
def test_codes_keep_the_index_that_holds_them():
    quantizer, codes = (
        random_quantizer(4, 1, 256, False),
        np.random.default_rng(0).integers(0, 256, (5000, 4), np.uint8),
    )
    index = to_faiss(quantizer, codes)
    kept = weakref.ref(index)
    stored = stored_codes(index, "x")
    del index
    gc.collect()
    assert kept() is not None and np.array_equal(stored, codes)
    del stored
    gc.collect()
    assert kept() is None


@pytest.mark.unit
def test_biases_do_not_put_documents_of_another_kind_first():
    others = unit_length(np.random.default_rng(1).normal(size=(100, D)).astype(np.float32))
    documents = np.concatenate([unit_length(clustered(4000, 8)), others])
    queries = unit_length(documents[:300] + 0.6 * unit_length(clustered(300, 10)))
    trained = train_additive(unit_length(clustered(3000, 2)), 3, 1, 8, 7, rounds=1)
    codes = AdditiveAssigner(trained).assign(documents)
    found = scoring_quantizer(trained, documents, 3).search(queries, codes, 10)[1]
    assert (np.asarray(found) >= 4000).mean() < 0.1


@pytest.mark.unit
def test_parts():
    assert [default_parts(384, m) for m in (12, 24, 48, 96)] == [1, 1, 1, 2]
    assert default_parts(7, 5) == 1
    with pytest.raises(QuantizerError, match="--parts 3 does not divide --m 4"):
        train_additive(clustered(300, 0), 4, 3, 4, 0)
    with pytest.raises(QuantizerError, match="codes of an additive quantizer"):
        random_quantizer(4, 1, 16, False).assign(clustered(3, 0))


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    vectors = clustered(600, 4)
    return Embeddings(make_embeddings(tmp_path_factory.mktemp("e") / "e", vectors, [f"d{i}" for i in range(600)]))


OPTIONS = IndexOptions(m=4, bits=4, quantizer="additive", seed=1)


@pytest.fixture
def index(embeddings, tmp_path):
    build_opq(embeddings, OPTIONS, tmp_path / "x")
    return IndexFolder(tmp_path / "x", verify=True)


@pytest.mark.integration
def test_an_additive_index(index, embeddings, tmp_path):
    assert (index.manifest.parts, index.manifest.bytes_per_document) == (1, 2)
    quantizer, codes = from_faiss(index.read(), "x")
    assigning = assigning_quantizer(index, quantizer)
    assert np.array_equal(codes, AdditiveAssigner(assigning).assign(embeddings.rows(np.arange(600))))
    queries = clustered(4, 5)
    scores, _ = quantizer.search(queries, codes, 10)
    hits = Index(index.path).batch_search(queries, k=10)  # in another order where codes are alike
    assert np.allclose([[hit.score for hit in found] for found in hits], scores, atol=1e-4)
    assert run("convert", "--index", index.path, "--to", "jpq", "--output", tmp_path / "jpq") == 2
    assert run("convert", "--index", index.path, "--to", "faiss", "--output", tmp_path / "faiss") == 0


@pytest.mark.integration
def test_documents_that_are_added_get_the_codes_they_would_have_had(index, embeddings, tmp_path):
    more = Embeddings(make_embeddings(tmp_path / "more", clustered(50, 6), [f"n{i}" for i in range(50)]))
    change_index(index, more, ["d3"])
    quantizer, codes = from_faiss(IndexFolder(index.path).read(), "x")
    assigning = assigning_quantizer(index, quantizer)
    assert np.array_equal(codes[-50:], AdditiveAssigner(assigning).assign(clustered(50, 6))) and len(codes) == 649
    build_from(IndexFolder(index.path), embeddings, tmp_path / "y")
    assert IndexFolder(tmp_path / "y", verify=True).manifest.parts == 1


@pytest.mark.integration
def test_in_shards_the_hits_are_the_same(index, embeddings, tmp_path):
    build_index(embeddings, tmp_path / "s", options=dataclasses.replace(OPTIONS, shards=2))
    queries = clustered(5, 11)
    for path in (index.path, tmp_path / "s"):
        assert run("index", "--index", path, "--ivf", 4) == 0
    for lists in (None, 2):
        one, other = (Index(path, nprobe=lists).batch_search(queries, k=20) for path in (index.path, tmp_path / "s"))
        assert [[(hit.docid, hit.score) for hit in hits] for hits in one] == [
            [(hit.docid, hit.score) for hit in hits] for hits in other
        ]


@pytest.mark.unit
def test_what_cannot_be(embeddings, tmp_path):
    for options, problem in (
        (IndexOptions(m=4, bits=4, parts=2), "--parts goes with --quantizer additive"),
        (IndexOptions(m=4, bits=4, parts=3, quantizer="additive"), "--parts 3 does not divide"),
        (IndexOptions(m=4, bits=8, quantizer="additive", sample=200), "fewer than the 256 centroids"),
    ):
        with pytest.raises(QuantizerError, match=problem):
            build_opq(embeddings, options, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
def test_an_additive_file_of_faiss_comes_back(tmp_path):
    codes = np.zeros((3, 4), np.uint8)
    faiss.write_index(to_faiss(random_quantizer(4, 1, 256, True), codes), str(tmp_path / "index"))
    found = read_foreign(tmp_path / "index")
    assert found.quantizer.parts == 1 and found.quantizer.biases is not None


@pytest.mark.unit
def test_the_last_codebooks_are_not_kept_small(monkeypatch):
    sample = unit_length(clustered(300, 2))

    def kept():
        trained = train_additive(sample, 6, 1, 4, 7, rounds=6)
        decoded = scoring_quantizer(trained, sample, 7).decode(AdditiveAssigner(trained).assign(sample))
        return float((decoded**2).sum(axis=1).mean())

    free = kept()
    monkeypatch.setattr(additive_training, "LEAST", 10.0)
    assert free > 1.05 * kept()

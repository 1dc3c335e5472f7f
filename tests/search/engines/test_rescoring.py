"""Rescoring: the best hits stand in the order of the stored vectors, the others behind them as before."""

import pickle

import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import IndexFolderError, JPQError, QuantizerError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.vectors import keep_vectors
from pyserini_jpq.search.open import open_index
from tests.conftest import make_embeddings, make_index

pytestmark = pytest.mark.unit
N, D, K = 400, 16, 30


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture(scope="module")
def queries():
    return np.random.default_rng(1).normal(size=(5, D)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, vectors):
    docids = [f"d{i}" for i in range(N)]
    folder = make_index(tmp_path_factory.mktemp("rescoring") / "x", vectors, docids)
    make_embeddings(folder.parent / "e", vectors, docids)
    keep_vectors(IndexFolder(folder), "float16", Embeddings(folder.parent / "e"))
    return folder


def test_all_hits_rescored_are_those_of_the_embeddings(folder, vectors, queries):
    scores, rows = open_index(folder, rescore=N).search(queries, 10)
    expected = queries @ vectors.T
    assert np.array_equal(rows, np.argsort(-expected, axis=1)[:, :10])
    assert np.allclose(scores, np.take_along_axis(expected, rows, axis=1), atol=0.05)


@pytest.mark.parametrize("depth", [1, 7, K, K + 20])
def test_the_rest_keeps_its_order_below(folder, vectors, queries, depth):
    _, before = open_index(folder).search(queries, max(depth, K))
    scores, rows = open_index(folder, rescore=depth).search(queries, K)
    assert rows.shape == (5, K) and scores.dtype == np.float32 and (np.diff(scores, axis=1) <= 0).all()
    for was, now, query in zip(before, rows, queries, strict=True):
        again = was[:depth][np.argsort(-(vectors[was[:depth]] @ query))]
        assert np.array_equal(now, np.concatenate([again, was[depth:]])[:K])


def test_more_hits_than_documents(folder, queries):
    scores, rows = open_index(folder, rescore=10).search(queries, N + 2)
    assert (np.sort(rows[:, :N], axis=1) == np.arange(N)).all() and (rows[:, N:] == -1).all()
    assert (np.diff(scores, axis=1) <= 0).all() and (scores[:, N:] == np.finfo(np.float32).min).all()


def test_lists_are_rescored_too(folder, queries):
    scores, rows = open_index(folder, ivf=20, nprobe=1, rescore=N).search(queries, N)
    assert ((rows < 0) == (scores == np.finfo(np.float32).min)).all() and (rows < 0).any()


def test_it_travels_and_reconstructs(folder, vectors, queries):
    engine = open_index(folder, rescore=10)
    again = pickle.loads(pickle.dumps(engine))
    assert np.array_equal(again.search(queries, K)[1], engine.search(queries, K)[1])
    assert np.allclose(engine.reconstruct(np.array([3, 8])), vectors[[3, 8]], atol=0.01)


def test_what_cannot_be_rescored_is_one_line(folder, tmp_path, vectors, queries):
    with pytest.raises(QuantizerError, match="rescore is 0; give the number of hits"):
        open_index(folder, rescore=0)
    with pytest.raises(JPQError, match="holds embeddings"):
        open_index(folder.parent / "e", rescore=10)
    plain = make_index(tmp_path / "plain", vectors, [f"d{i}" for i in range(N)])
    with pytest.raises(IndexFolderError, match=r"keeps no vectors.*--keep-vectors int8` writes them"):
        open_index(plain, rescore=10)

"""Codebooks that are fitted to codes, and codes of documents that did not teach them."""

import numpy as np
import pytest

from pyserini_jpq.index import additive_fitting
from pyserini_jpq.index.additive_fitting import coded, coded_by_others, least_squares, sums

K = 16


def squares(vectors):
    return float((vectors**2).sum(axis=1).mean())


def drawn(rows, seed):
    """Vectors of which a sum of two centroids is a part, and as much again is noise."""
    centroids = np.random.default_rng(9).normal(size=(2, K, 32))
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, K, (rows, 2))
    return (centroids[[0, 1], codes].sum(axis=1) + rng.normal(size=(rows, 32)) * 1.4).astype(np.float32)


@pytest.mark.unit
def test_least_squares_shrinks_by_the_weights():
    vectors, codes = drawn(200, 0), np.random.default_rng(1).integers(0, K, (200, 1), dtype=np.uint8)
    [book] = least_squares(vectors, np.float32([3]), codes, K)
    for code in range(K):
        own = vectors[codes[:, 0] == code]
        assert np.allclose(book[code], own.sum(axis=0) / (len(own) + 3), atol=1e-4)


@pytest.mark.unit
@pytest.mark.parametrize(("rows", "folds"), [(600, 2), (400, 5)])
def test_what_others_leave_of_a_fold_is_what_they_leave_of_unseen_documents(rows, folds, monkeypatch):
    taught = []

    def counted(vectors, weights, codes, k):
        taught.append(len(vectors))
        return least_squares(vectors, weights, codes, k)

    monkeypatch.setattr(additive_fitting, "least_squares", counted)
    vectors, unseen, rng = drawn(rows, 2), drawn(4000, 3), np.random.default_rng(4)
    scales = np.float32([1, 0.3, 0.1])[:, None, None]
    codes, weights = coded(vectors, vectors[None, :K] * scales), np.ones(3, np.float32)
    for _ in range(10):
        codes, left, weights = coded_by_others(vectors, codes, weights, K, rng)
    assert taught == [rows - rows // folds] * folds * 10
    books = least_squares(vectors, weights, codes, K)
    others = squares(unseen - sums(books, coded(unseen, books)))
    remembered = squares(vectors - sums(books, coded(vectors, books)))
    assert remembered < 0.85 * others
    assert 0.9 * others < squares(left) < 1.1 * others
    assert ((weights >= 1) & (weights <= 10)).all()

"""DPQ: what is differentiable, and that supervision teaches it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pyserini_jpq.compare.baselines.base import Settings, Supervision, relevant_pairs
from pyserini_jpq.compare.baselines.dpq_training import quantized
from pyserini_jpq.compare.baselines.registry import ENGINES
from pyserini_jpq.errors import JPQError, QuantizerError

pytestmark = pytest.mark.integration

SETTINGS = Settings(bytes_per_document=2, seed=3)


def reciprocal_rank(built, queries, wanted):
    rows = built.search(queries, 100)[1]
    return np.mean([(1 / (1 + np.flatnonzero(found == row))).sum() for found, row in zip(rows, wanted, strict=True)])


def test_the_choice_is_the_nearest_and_passes_gradients():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(7, 6, generator=generator, requires_grad=True)
    centroids = torch.randn(3, 5, 2, generator=generator, requires_grad=True)
    decoded = quantized(vectors, centroids)
    for row, vector in zip(decoded.detach(), vectors.detach(), strict=True):
        for m in range(3):
            part = slice(2 * m, 2 * m + 2)
            nearest = (centroids[m].detach() - vector[part]).norm(dim=1).argmin()
            torch.testing.assert_close(row[part], centroids[m, nearest].detach())
    weights = torch.randn(7, 6, generator=generator)
    (decoded * weights).sum().backward()
    torch.testing.assert_close(vectors.grad, weights)
    torch.testing.assert_close(centroids.grad.sum(dim=1).ravel(), weights.sum(dim=0))


def test_supervision_teaches(vectors, monkeypatch):
    monkeypatch.setattr("pyserini_jpq.compare.baselines.dpq_training.STEPS", 60)
    # A quarter of the dimensions decides what is relevant, which the reconstruction of documents alone cannot know.
    queries = vectors.copy()
    queries[:, 8:] = 0
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    wanted = np.arange(600)
    supervision = Supervision(queries, np.stack([wanted, wanted], axis=1))
    before = ENGINES["opq"].build(vectors, SETTINGS)
    after = ENGINES["dpq"].build(vectors, replace(SETTINGS, supervision=supervision))
    assert reciprocal_rank(after, queries, wanted) > reciprocal_rank(before, queries, wanted) + 0.05
    again = ENGINES["dpq"].build(vectors, replace(SETTINGS, supervision=supervision))
    np.testing.assert_array_equal(after.search(queries, 9)[1], again.search(queries, 9)[1])


def test_nothing_to_learn_from(vectors):
    with pytest.raises(QuantizerError, match="learns from queries"):
        ENGINES["dpq"].build(vectors, SETTINGS)


def test_pairs_of_what_is_known(tmp_path):
    topics = {"q1": "one", "q2": "two", "q3": "three"}
    qrels = {"q1": {"gone": 1, "a": 0}, "q2": {"c": 2, "a": 1, "gone": 1}, "q4": {"a": 1}}
    texts, pairs = relevant_pairs(topics, qrels, ["a", "b", "c"])
    assert texts == ["two"] and pairs.tolist() == [[0, 2], [0, 0]]
    held = Supervision(np.ones((1, 2), np.float32), pairs)
    held.save(tmp_path / "s.npz")
    np.testing.assert_array_equal(Supervision.load(tmp_path / "s.npz").pairs, pairs)
    with pytest.raises(JPQError, match="--train-qrels"):
        relevant_pairs(topics, {"q1": {"gone": 1}}, ["a"])

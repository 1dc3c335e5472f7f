"""What the data decide where flags and card leave it open."""

import dataclasses

import pytest

from pyserini_jpq.train.defaults import ENCODER_ALONE, WEIGHT, decided
from pyserini_jpq.train.recipe import Recipe
from tests.train.helpers import query

pytestmark = pytest.mark.unit


def test_sparse_labels_are_distilled_beside():
    def weight(labels, has_embeddings=True, **given):
        queries = [query(*((row, 1) for row in range(labels)))] * 40
        return decided(Recipe(**given), queries, has_embeddings).distill_weight

    assert weight(1) == weight(2) == WEIGHT
    assert weight(3) == 0.0, "labels are not sparse"
    assert weight(1, has_embeddings=False) == 0.0, "there is no teacher"
    assert weight(1, distill_weight=0.7) == 0.7 and weight(1, distill_weight=0.0) == 0.0
    assert weight(1, train_centroids=False) == weight(9, train_centroids=False) == ENCODER_ALONE
    assert weight(9, train_centroids=False, has_embeddings=False) == 0.0
    assert weight(1, loss="distill") == 0.0, "it is the loss itself"


@pytest.mark.parametrize(
    ("count", "batch_size", "epochs"), [(2590, 32, 6), (11_992, 32, 2), (800, 32, 6), (500_000, 32, 2), (6400, 32, 4)]
)
def test_epochs_make_about_as_many_steps(count, batch_size, epochs):
    recipe = dataclasses.replace(Recipe(), batch_size=batch_size, distill_weight=0.0)
    assert decided(recipe, [None] * count, False).epochs == epochs
    assert decided(dataclasses.replace(recipe, epochs=9), [None] * count, False).epochs == 9

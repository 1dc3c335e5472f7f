"""What the data decide where flags and card leave it open."""

import dataclasses

import pytest

from pyserini_jpq.train.defaults import ENCODER_ALONE, LISTWISE, MANY_LABELS_RATE, WEIGHT, decided
from pyserini_jpq.train.options import FEW_LABELS_RATE, Recipe
from tests.train.helpers import query

pytestmark = pytest.mark.unit


def test_sparse_labels_are_distilled_beside():
    def weight(labels, has_embeddings=True, **given):
        queries = [query(*((row, 1) for row in range(labels)))] * 40
        return decided(Recipe(**given), queries, has_embeddings, False, 384).distill_weight

    assert weight(1) == weight(2) == WEIGHT
    assert weight(3) == 0.0, "labels are not sparse"
    assert weight(1, has_embeddings=False) == 0.0, "there is no teacher"
    assert weight(1, distill_weight=0.7) == 0.7 and weight(1, distill_weight=0.0) == 0.0
    assert weight(1, train_centroids=False) == weight(9, train_centroids=False) == ENCODER_ALONE
    assert weight(9, train_centroids=False, has_embeddings=False) == 0.0
    assert weight(1, loss="distill") == 0.0, "it is the loss itself"


def test_many_labels_have_the_listwise_loss_beside():
    def weight(labels, **given):
        queries = [query(*((row, 1) for row in range(labels)))] * 40
        return decided(Recipe(**given), queries, True, False, 384).listwise_weight

    assert weight(3) == weight(40) == LISTWISE
    assert weight(2) == weight(40, loss="hinge") == weight(40, train_centroids=False) == 0.0
    assert weight(1, listwise_weight=0.7) == 0.7 and weight(40, listwise_weight=0.0) == 0.0


def test_many_labels_take_a_larger_rate_the_wider_the_encoder_the_less():
    def rate(labels, dimension=384, **given):
        queries = [query(*((row, 1) for row in range(labels)))] * 40
        return decided(Recipe(**given), queries, True, False, dimension).lr

    assert rate(2) == rate(40, loss="listwise") == rate(40, train_centroids=False) == FEW_LABELS_RATE
    assert rate(3) == rate(40, dimension=32) == MANY_LABELS_RATE
    assert rate(40, dimension=768) == MANY_LABELS_RATE / 2 and rate(40, dimension=4096) == FEW_LABELS_RATE
    assert rate(40, lr=0.1) == 0.1


def test_a_part_of_training_is_kept_where_labels_are_sparse():
    def share(labels, has_dev=False, **given):
        queries = [query(*((row, 1) for row in range(labels)))] * 40
        return decided(Recipe(**given), queries, False, has_dev, 384).trained_share

    assert share(1) is share(2) is None, "chosen by queries that are held out"
    assert share(3) == 1.0
    assert share(3, has_dev=True) is None, "chosen by the dev queries"
    assert share(0, loss="distill") == 1.0, "it learns from no label"
    assert share(1, trained_share=0.3) == share(9, has_dev=True, trained_share=0.3) == 0.3


@pytest.mark.parametrize(
    ("count", "batch_size", "epochs"), [(2590, 32, 6), (11_992, 32, 2), (800, 32, 6), (500_000, 32, 2), (6400, 32, 4)]
)
def test_epochs_make_about_as_many_steps(count, batch_size, epochs):
    recipe = dataclasses.replace(Recipe(), batch_size=batch_size, distill_weight=0.0)
    assert decided(recipe, [query((1, 1))] * count, False, True, 384).epochs == epochs
    assert decided(dataclasses.replace(recipe, epochs=9), [query((1, 1))] * count, False, True, 384).epochs == 9

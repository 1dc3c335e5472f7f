"""What the data decide where flags and card leave it open."""

import dataclasses

import numpy as np
import pytest
import torch

from pyserini_jpq.train.defaults import WEIGHT, agreement, decided
from pyserini_jpq.train.recipe import Recipe
from tests.train.helpers import query

pytestmark = pytest.mark.unit


class Embeddings:
    """Documents on the axes: the query "3" finds document 3 first."""

    def blocks(self, rows):
        yield np.eye(40, dtype=np.float32)


class Tower(torch.nn.Module):
    """Encodes a text that is a number as a vector along that axis, a little along the next."""

    dimension = 40
    device = torch.device("cpu")

    def encode_queries(self, texts):
        vectors = torch.zeros(len(texts), 40)
        for vector, text in zip(vectors, texts, strict=True):
            vector[int(text)], vector[(int(text) + 1) % 40] = 1.0, 0.5
        return vectors


def queries(shift, labels=1):
    return [query(*(((i + shift + j) % 40, 1) for j in range(labels)), qid=str(i), text=str(i)) for i in range(40)]


def test_agreement_is_the_reciprocal_rank_of_the_labelled_document():
    assert agreement(queries(0), Embeddings(), Tower()) == pytest.approx(1.0)
    assert agreement(queries(1), Embeddings(), Tower()) == pytest.approx(0.5)
    assert agreement(queries(1, labels=2), Embeddings(), Tower()) == pytest.approx(0.5)


def test_sparse_labels_that_the_encoder_finds_by_itself_are_distilled():
    def weight(shift, labels=1, embeddings=Embeddings(), **given):  # noqa: B008
        return decided(Recipe(**given), queries(shift, labels), embeddings, Tower()).distill_weight

    assert weight(0) == WEIGHT
    assert weight(1) == 0.0, "labels know more than the encoder"
    assert weight(0, labels=3) == 0.0, "labels are not sparse"
    assert weight(0, embeddings=None) == 0.0, "there is no teacher"
    assert weight(0, distill_weight=0.7) == 0.7 and weight(0, distill_weight=0.0) == 0.0
    assert weight(0, loss="distill") == 0.0, "it is the loss itself"


@pytest.mark.parametrize(
    ("count", "batch_size", "epochs"), [(2590, 32, 6), (11_992, 32, 2), (800, 32, 6), (500_000, 32, 2), (6400, 32, 4)]
)
def test_epochs_make_about_as_many_steps(count, batch_size, epochs):
    recipe = dataclasses.replace(Recipe(), batch_size=batch_size, distill_weight=0.0)
    assert decided(recipe, [None] * count, None, Tower()).epochs == epochs
    assert decided(dataclasses.replace(recipe, epochs=9), [None] * count, None, Tower()).epochs == 9

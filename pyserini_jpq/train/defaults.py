"""What a recipe leaves to the data: how long to train, and whether to distill beside the labels."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.tower import Tower
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.recipe import Recipe
from pyserini_jpq.train.search import FlatSearch
from pyserini_jpq.train.teacher import encode_all

STEPS = 750
"""Steps that training aims at; more bring little on collections of some thousand documents (docs/training.md)."""
FEWEST_EPOCHS, MOST_EPOCHS = 2, 6
SPARSE = 3.0
"""Labelled positives of a query, on average, below which labels are sparse: most relevant documents have none."""
AGREEMENT = 0.7
"""Mean reciprocal rank of the labelled positives, by the uncompressed encoder, from which on it is a teacher."""
WEIGHT = 0.05
"""Of the distillation beside labels that are sparse."""
_SAMPLE = 512
_HITS = 100
_BLOCK = 1 << 16


def decided(recipe: Recipe, queries: Sequence[TrainingQuery], embeddings: Embeddings | None, tower: Tower) -> Recipe:
    """Return the recipe with what it leaves open decided by the data.

    Distillation is for sparse labels that the uncompressed encoder finds by itself: then the other documents that it
    puts on top are mostly relevant ones without a label, and a loss that pushes them down does harm. Where it misses
    the labelled documents, labels know more than it does.

    Parameters
    ----------
    recipe
        As flags and card say.
    queries
        Training queries.
    embeddings
        The uncompressed embeddings; None where they are not at hand, and so there is no teacher.
    tower
        The query encoder before training.
    """
    epochs = recipe.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS / recipe.steps_per_epoch(len(queries)))))
    weight = recipe.distill_weight
    if weight is None:
        labels = sum(len(query.positives) for query in queries)
        is_sparse = recipe.learns_from_labels and embeddings is not None and labels < SPARSE * len(queries)
        weight = WEIGHT if is_sparse and embeddings and agreement(queries, embeddings, tower) >= AGREEMENT else 0.0
    return dataclasses.replace(recipe, epochs=epochs, distill_weight=weight)


def agreement(queries: Sequence[TrainingQuery], embeddings: Embeddings, tower: Tower) -> float:
    """Return the mean reciprocal rank of the first labelled positive by the uncompressed encoder, over a sample."""
    chosen = np.random.default_rng(0).permutation(len(queries))[:_SAMPLE]
    sample = [queries[i] for i in chosen]
    search = FlatSearch(partial(embeddings.blocks, _BLOCK))
    hits = search.search(encode_all(tower, [query.text for query in sample]), _HITS)
    found = torch.stack([torch.isin(rows, query.positives) for rows, query in zip(hits, sample, strict=True)])
    ranks = torch.arange(1, found.shape[1] + 1)
    return float((found / ranks).amax(dim=1).mean())

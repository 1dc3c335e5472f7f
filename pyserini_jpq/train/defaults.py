"""What a recipe leaves to the data: how long to train, and whether to distill beside the labels."""

import dataclasses
from collections.abc import Sequence

from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.recipe import Recipe

STEPS = 750
"""Steps that training aims at; more bring little on collections of some thousand documents (docs/training.md)."""
FEWEST_EPOCHS, MOST_EPOCHS = 2, 6
SPARSE = 3.0
"""Labelled positives of a query, on average, below which labels are sparse: most relevant documents have none."""
WEIGHT = 0.05
"""Of the distillation beside labels that are sparse."""
ENCODER_ALONE = 1.0
"""Of the distillation where centroids stay: an encoder that moves far leaves an index that cannot follow it."""


def decided(recipe: Recipe, queries: Sequence[TrainingQuery], has_embeddings: bool) -> Recipe:
    """Return the recipe with what it leaves open decided by the data.

    Where labels are sparse, many of the best retrieved documents are relevant without a label, and a loss that only
    pushes them down does harm; a little distillation holds against it. Where the query encoder is trained alone, more
    of it does (figures in docs/training.md).

    Parameters
    ----------
    recipe
        As flags and card say.
    queries
        Training queries.
    has_embeddings
        Whether the uncompressed embeddings are at hand, without which there is no teacher.
    """
    epochs = recipe.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS / recipe.steps_per_epoch(len(queries)))))
    weight = recipe.distill_weight
    if weight is None:
        weight = _distill_weight(recipe, queries) if has_embeddings and recipe.learns_from_labels else 0.0
    return dataclasses.replace(recipe, epochs=epochs, distill_weight=weight)


def _distill_weight(recipe: Recipe, queries: Sequence[TrainingQuery]) -> float:
    if not recipe.train_centroids:
        return ENCODER_ALONE
    labels = sum(len(query.positives) for query in queries)
    return WEIGHT if labels < SPARSE * len(queries) else 0.0

"""What a recipe leaves to the data: how long to train, whether to distill beside labels, how much to keep."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.options import Recipe

R = TypeVar("R", bound=Recipe)

STEPS = 750
"""Steps that training aims at; more bring little on collections of some thousand documents (docs/training.md)."""
FEWEST_EPOCHS, MOST_EPOCHS = 2, 6
SPARSE = 3.0
"""Labelled positives of a query, on average, below which labels are sparse: most relevant documents have none."""
WEIGHT = 0.05
"""Of the distillation beside labels that are sparse."""
ENCODER_ALONE = 1.0
"""Of the distillation where centroids stay: an encoder that moves far leaves an index that cannot follow it."""


def decided(recipe: R, queries: Sequence[TrainingQuery], has_embeddings: bool, has_dev: bool) -> R:
    """Return the recipe with what it leaves open decided by the data.

    Where labels are sparse, many of the best retrieved documents are relevant without a label, and a loss that only
    pushes them down does harm; a little distillation holds against it, and so does keeping a part of what training
    changed. Where the query encoder is trained alone, more distillation does (figures in docs/training.md).

    Parameters
    ----------
    recipe
        As flags and card say.
    queries
        Training queries.
    has_embeddings
        Whether the uncompressed embeddings are at hand, without which there is no teacher.
    has_dev
        Whether there are dev topics.

    Returns
    -------
    Recipe
        Complete, of the class that was given, but for `trained_share` where it is to be chosen at the end.
    """
    epochs = recipe.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS / recipe.steps_per_epoch(len(queries)))))
    weight = recipe.distill_weight
    if weight is None:
        weight = _distill_weight(recipe, queries) if has_embeddings and recipe.learns_from_labels else 0.0
    share = recipe.trained_share
    if share is None and not has_dev and not (recipe.learns_from_labels and _sparse(queries)):
        share = 1.0
    return dataclasses.replace(recipe, epochs=epochs, distill_weight=weight, trained_share=share)


def _distill_weight(recipe: Recipe, queries: Sequence[TrainingQuery]) -> float:
    if not recipe.train_centroids:
        return ENCODER_ALONE
    return WEIGHT if _sparse(queries) else 0.0


def _sparse(queries: Sequence[TrainingQuery]) -> bool:
    return sum(len(query.positives) for query in queries) < SPARSE * len(queries)

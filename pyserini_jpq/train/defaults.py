"""Defaults that depend on the data: epochs, learning rate, weights of losses, share of the change that is kept."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.options import FEW_LABELS_RATE, Recipe

R = TypeVar("R", bound=Recipe)

STEPS = 750
"""Target number of steps; more bring little on collections of some thousand documents (docs/training.md)."""
FEWEST_EPOCHS, MOST_EPOCHS = 2, 6
SPARSE = 3.0
"""Labels are sparse below this mean number of positives per query: most relevant documents then have none."""
WEIGHT = 0.05
"""Weight of distillation beside sparse labels."""
LISTWISE = 0.03
"""Weight of the listwise loss beside the paper's where labels are many: that one hardly minds what stands far down."""
MANY_LABELS_RATE = 8e-5
"""Where they are many, up to 384 dimensions; of wider encoders less, by the width (Yang et al., NeurIPS 2021)."""
ENCODER_ALONE = 1.0
"""Weight of distillation with frozen centroids: the encoder must stay near an index that cannot follow it."""


def decided(recipe: R, queries: Sequence[TrainingQuery], has_embeddings: bool, has_dev: bool, dimension: int) -> R:
    """Return the recipe with its open values filled in from the data.

    Where labels are sparse, many top-ranked documents are relevant without a label, and a loss that only pushes them
    down does harm. A little distillation prevents it, and so does keeping only a part of the change. Training the
    query encoder alone needs more distillation (figures in docs/training.md).

    Parameters
    ----------
    recipe
        Values from flags and card.
    queries
        Training queries.
    has_embeddings
        Whether the uncompressed embeddings, the teacher, are available.
    has_dev
        Whether there are dev topics.
    dimension
        Dimensions of the query encoder's vectors.

    Returns
    -------
    Recipe
        Of the same class; complete, except that `trained_share` stays None where it is chosen after training.
    """
    steps_per_epoch = -(-len(queries) // recipe.batch_size)
    epochs = recipe.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(STEPS / steps_per_epoch)))
    weight = recipe.distill_weight
    if weight is None:
        weight = _distill_weight(recipe, queries) if has_embeddings and recipe.learns_from_labels else 0.0
    many = recipe.loss == "lambda-rr" and recipe.train_centroids and not _sparse(queries)
    listwise = recipe.listwise_weight
    if listwise is None:
        listwise = LISTWISE if many else 0.0
    rate = _rate(dimension) if many and recipe.lr is None else recipe.rate
    share = recipe.trained_share
    if share is None and not has_dev and not (recipe.learns_from_labels and _sparse(queries)):
        share = 1.0
    return dataclasses.replace(
        recipe, epochs=epochs, lr=rate, listwise_weight=listwise, distill_weight=weight, trained_share=share
    )


def _distill_weight(recipe: Recipe, queries: Sequence[TrainingQuery]) -> float:
    if not recipe.train_centroids:
        return ENCODER_ALONE
    return WEIGHT if _sparse(queries) else 0.0


def _rate(dimension: int) -> float:
    return max(FEW_LABELS_RATE, MANY_LABELS_RATE * min(1.0, 384 / dimension))


def _sparse(queries: Sequence[TrainingQuery]) -> bool:
    return sum(len(query.positives) for query in queries) < SPARSE * len(queries)

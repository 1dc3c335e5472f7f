"""What a training step learns from: queries, negatives, scores and a loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.vectors import DocumentVectors
from pyserini_jpq.train.data import Batches, TrainingQuery
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.inputs import Inputs
from pyserini_jpq.train.losses import LABEL_LOSSES, TEACHER_LOSSES, with_listwise
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.negatives import (
    BruteForceNegatives,
    LiveNegatives,
    Negatives,
    RandomNegatives,
    ScoredDocuments,
    StaticNegatives,
)
from pyserini_jpq.train.objective import Objective
from pyserini_jpq.train.options import Recipe
from pyserini_jpq.train.search import FlatSearch, IndexSearch
from pyserini_jpq.train.teacher import DenseTeacher, ScoreFile, document_vectors, encode_all

Scorer = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Supervision:
    """What a training step learns from.

    Attributes
    ----------
    batches
        Batches of training queries.
    negatives
        Source of the documents of a step.
    score
        Scores for the loss, from rotated queries [B, D] and rows [B, C] to [B, C]: those of the index, or of the
        original embeddings.
    scale
        Factor of the scores in the loss.
    objective
        The loss.
    """

    batches: Batches
    negatives: Negatives
    score: Scorer
    scale: float
    objective: Objective


def supervise(inputs: Inputs, recipe: Recipe, model: JPQModel, search: IndexSearch, ranks: Ranks) -> Supervision:
    """Return the supervision of a recipe.

    Teachers and static negatives encode the queries here, once, with the given model: the one before training.
    """
    batches = Batches(inputs.queries, recipe.batch_size, recipe.seed)
    scale = recipe.score_scale or model.encoder.card.training_scale
    scores = None
    if recipe.loss == "margin-mse":
        scores = ScoreFile(inputs.scores or {}, inputs.source.docids, "--scores")
    return Supervision(
        batches,
        _negatives(inputs, recipe, model, search, scores, lambda step: ranks.share(batches[step]), ranks),
        _scorer(inputs, recipe, model),
        scale,
        _objective(inputs, recipe, model, scores, scale),
    )


def _scorer(inputs: Inputs, recipe: Recipe, model: JPQModel) -> Scorer:
    """Return the scorer of candidates: the index, or for an ablation the original embeddings."""
    if recipe.loss_scores == "index":
        return model.score
    embeddings = _needed(inputs, "--loss-scores original")

    def score(rotated_queries: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        documents = document_vectors(embeddings, offsets)
        return torch.einsum("bd,bcd->bc", rotated_queries @ model.rotation, documents)

    return score


def _negatives(
    inputs: Inputs,
    recipe: Recipe,
    model: JPQModel,
    search: IndexSearch,
    scores: ScoreFile | None,
    upcoming: Callable[[int], Sequence[TrainingQuery]],
    ranks: Ranks,
) -> Negatives:
    def rotated(queries: Sequence[TrainingQuery]) -> torch.Tensor:
        vectors = encode_all(model.encoder, [q.text for q in queries])
        return vectors.to(model.codes.device) @ model.rotation.T

    if scores:
        return ScoredDocuments(scores, recipe.num_negatives)
    if recipe.negatives == "live":
        return LiveNegatives(search, recipe.num_negatives, recipe.search_every, upcoming, rotated)
    if recipe.negatives == "static":
        vectors = rotated(inputs.queries)
        return StaticNegatives.of_search(search, inputs.queries, vectors, recipe.num_negatives, ranks)
    if recipe.negatives == "random":
        return RandomNegatives(model.documents, recipe.num_negatives)
    embeddings = _needed(inputs, "--negatives brute-force")
    flat = FlatSearch(partial(embeddings.blocks, _BLOCK))
    return BruteForceNegatives(flat, model.rotation, recipe.num_negatives)


def _objective(inputs: Inputs, recipe: Recipe, model: JPQModel, scores: ScoreFile | None, scale: float) -> Objective:
    if scores:
        return Objective(None, TEACHER_LOSSES["margin-mse"], scores)
    label_loss = LABEL_LOSSES.get(recipe.loss)
    if label_loss and recipe.listwise_weight:
        label_loss = with_listwise(label_loss, recipe.listwise_weight)
    weight = 1.0 if label_loss is None else recipe.distill_weight or 0.0
    if not weight and recipe.false_negatives is None:
        return Objective(label_loss)
    embeddings = _needed(inputs, "a dense teacher")
    teacher = DenseTeacher(model.encoder, inputs.queries, embeddings, scale)
    distillation = partial(TEACHER_LOSSES["distill"], temperature=recipe.distill_temperature) if weight else None
    return Objective(label_loss, distillation, teacher, weight, recipe.false_negatives)


def _needed(inputs: Inputs, what: str) -> DocumentVectors:
    if inputs.embeddings is None:
        raise TrainingError(f"{what} needs the uncompressed embeddings; give their folder with --embeddings")
    return inputs.embeddings

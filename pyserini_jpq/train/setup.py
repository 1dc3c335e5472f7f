"""Putting a trainer together from an index folder, queries and a recipe."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.precision import resolve_device, resolve_dtype
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.encoders import check_encoder, query_encoder_source
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.train.averaging import Averaging, best, hold_out, preferred
from pyserini_jpq.train.biases import fitted_weight, start_biases
from pyserini_jpq.train.checkpoint import Checkpoints
from pyserini_jpq.train.data import Batches, TrainingQuery
from pyserini_jpq.train.defaults import decided
from pyserini_jpq.train.dev import DevSet
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.log import FILE, Log
from pyserini_jpq.train.lora import add_lora
from pyserini_jpq.train.losses import LABEL_LOSSES, TEACHER_LOSSES
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
from pyserini_jpq.train.recipe import Recipe
from pyserini_jpq.train.search import FlatSearch, IndexSearch, index_search
from pyserini_jpq.train.teacher import DenseTeacher, ScoreFile, document_vectors, encode_all
from pyserini_jpq.train.trainer import Pace, Scorer, Trainer

DevTopics = tuple[Mapping[str, str], Mapping[str, Mapping[str, int]]]

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Materials:
    """What a training run is made from.

    Attributes
    ----------
    index
        The index to start from.
    docids
        Its documents, in row order: read once, as they can be millions.
    queries
        Training queries.
    embeddings
        Uncompressed, of the same documents in the same order; None where they are not at hand.
    scores
        The scores of a teacher by query id and docid, for margin-MSE.
    dev
        Dev topics and qrels, if there are any.
    """

    index: IndexFolder
    docids: Sequence[str]
    queries: Sequence[TrainingQuery]
    embeddings: Embeddings | None = None
    scores: Mapping[str, Mapping[str, float]] | None = None
    dev: DevTopics | None = None


def make_trainer(materials: Materials, recipe: Recipe, args: argparse.Namespace, folder: Path) -> Trainer:
    """Load encoder and index, and make the trainer that will change copies of both.

    Parameters
    ----------
    materials
        Index and data.
    recipe
        The numbers; what it leaves to the data is decided here.
    args
        The flags of the command that are no part of the recipe.
    folder
        Where checkpoints and the log go.
    """
    import faiss

    if args.threads:
        torch.set_num_threads(args.threads)
        faiss.omp_set_num_threads(args.threads)
    device = resolve_device(args.device)
    ranks = Ranks.join(device)
    torch.manual_seed(recipe.seed + ranks.rank)
    source = query_encoder_source(materials.index)
    encoder = source.load()
    check_encoder(materials.index, encoder, source.name)
    recipe = decided(recipe, materials.queries, materials.embeddings is not None, materials.dev is not None)
    held_out: Sequence[TrainingQuery] = ()
    if recipe.trained_share is None and materials.dev is None:
        queries, held_out = hold_out(materials.queries, recipe.seed)
        materials = dataclasses.replace(materials, queries=queries)
    _fit_to_machine(encoder, args, device)
    whole = materials.index.read()
    model = JPQModel(encoder, *from_faiss(whole, materials.index.path)).to(device)
    search = index_search(model)
    if recipe.learns_biases and not model.biases.any():
        weight = _norm_bias(materials, recipe, model, search)
        start_biases(model, weight)
        recipe = dataclasses.replace(recipe, norm_bias=weight)
    scale = recipe.score_scale or encoder.card.training_scale
    batches = Batches(materials.queries, recipe.batch_size, recipe.seed)
    # What a teacher or static negatives need of the encoder as it is now comes before anything changes it.
    scores = _score_file(materials) if recipe.loss == "margin-mse" else None
    negatives = _negatives(materials, recipe, model, search, scores, lambda step: ranks.share(batches[step]))
    objective = _objective(materials, recipe, model, scores, scale)
    dev_set = DevSet(*materials.dev, materials.docids, args.dev_metric) if materials.dev else None
    trainer = Trainer(
        model,
        _scorer(materials, recipe, model),
        negatives,
        objective,
        batches,
        recipe,
        scale,
        partial(dev_set.evaluate, model, search) if dev_set else None,
        Checkpoints(folder, args.keep_checkpoints, ranks.is_first),
        Log(folder / FILE if ranks.is_first else None, args.tensorboard if ranks.is_first else None),
        Pace(
            args.eval_every,
            args.patience,
            args.checkpoint_every,
            args.log_every,
            accumulate=args.accumulate,
            dtype=training_dtype(args.dtype, device),
        ),
        ranks,
    )
    # After the optimizer was made, which turns gradients off where nothing is trained; by the process that writes.
    if recipe.trained_share != 1 and ranks.is_first:
        judges = dev_set or _held_out_set(held_out, materials.docids, args.dev_metric)
        measure = partial(judges.per_query, model, search) if judges else None
        trainer.averaging = Averaging(model, recipe.trained_share, measure, best if dev_set else preferred)
    return trainer


def _held_out_set(queries: Sequence[TrainingQuery], docids: Sequence[str], metric: str) -> DevSet | None:
    if not queries:
        return None
    qrels = {
        query.qid: {docids[row]: int(grade) for row, grade in zip(query.positives, query.grades, strict=True)}
        for query in queries
    }
    return DevSet({query.qid: query.text for query in queries}, qrels, docids, metric)


def _norm_bias(materials: Materials, recipe: Recipe, model: JPQModel, search: IndexSearch) -> float:
    """Return what biases start with: as the recipe says, else fitted if the embeddings are at hand, else nothing."""
    if recipe.norm_bias is not None or materials.embeddings is None:
        return recipe.norm_bias or 0.0
    return fitted_weight(model, search, materials.queries, materials.embeddings, recipe.seed)


def training_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn `auto` and the other names into what the encoder computes in while it is trained.

    As `resolve_dtype`, but bfloat16 on a GPU that has it: gradients need its range more than float16's digits.
    """
    if name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return resolve_dtype(name, device)


def _fit_to_machine(encoder: Encoder, args: argparse.Namespace, device: torch.device) -> None:
    """Change how the encoder is computed, as the flags say: less memory, or less time."""
    if args.gradient_checkpointing:
        encoder.backbone.gradient_checkpointing_enable()
    if args.lora_rank:
        add_lora(encoder, args.lora_rank)
    if args.compile:
        check_compiler(device)
        encoder.backbone.compile(dynamic=True)


def check_compiler(device: torch.device) -> None:
    """Raise TrainingError where torch cannot compile; else the first step would, after all that comes before it."""
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.ones(8, device=device))
    except Exception as problem:  # whatever the compiler that is there, or is not, ends in
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise TrainingError(f"--compile: torch.compile does not work here ({reason}); leave the flag out") from None


def _scorer(materials: Materials, recipe: Recipe, model: JPQModel) -> Scorer:
    """Return what scores candidates: the index, or the original embeddings, the ablation in which it has no part."""
    if recipe.loss_scores == "index":
        return model.score
    embeddings = _needed(materials, "--loss-scores original")

    def score(rotated_queries: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        documents = document_vectors(embeddings, offsets)
        return torch.einsum("bd,bcd->bc", rotated_queries @ model.rotation, documents)

    return score


def _negatives(
    materials: Materials,
    recipe: Recipe,
    model: JPQModel,
    search: IndexSearch,
    scores: ScoreFile | None,
    upcoming: Callable[[int], Sequence[TrainingQuery]],
) -> Negatives:
    def rotated(queries: Sequence[TrainingQuery]) -> torch.Tensor:
        vectors = encode_all(model.encoder, [q.text for q in queries])
        return vectors.to(model.codes.device) @ model.rotation.T

    if scores:
        return ScoredDocuments(scores, recipe.num_negatives)
    if recipe.negatives == "live":
        return LiveNegatives(search, recipe.num_negatives, recipe.search_every, upcoming, rotated)
    if recipe.negatives == "static":
        vectors = rotated(materials.queries)
        return StaticNegatives.of_search(search, materials.queries, vectors, recipe.num_negatives)
    if recipe.negatives == "random":
        return RandomNegatives(len(model.codes), recipe.num_negatives)
    embeddings = _needed(materials, "--negatives brute-force")
    flat = FlatSearch(partial(embeddings.blocks, _BLOCK))
    return BruteForceNegatives(flat, model.rotation, recipe.num_negatives)


def _objective(
    materials: Materials, recipe: Recipe, model: JPQModel, scores: ScoreFile | None, scale: float
) -> Objective:
    if scores:
        return Objective(None, TEACHER_LOSSES["margin-mse"], scores)
    label_loss = LABEL_LOSSES.get(recipe.loss)
    weight = 1.0 if label_loss is None else recipe.distill_weight or 0.0
    if not weight and recipe.false_negatives is None:
        return Objective(label_loss)
    embeddings = _needed(materials, "a dense teacher")
    teacher = DenseTeacher(model.encoder, materials.queries, embeddings, scale)
    distillation = partial(TEACHER_LOSSES["distill"], temperature=recipe.distill_temperature) if weight else None
    return Objective(label_loss, distillation, teacher, weight, recipe.false_negatives)


def _score_file(materials: Materials) -> ScoreFile:
    return ScoreFile(materials.scores or {}, materials.docids, "--scores")


def _needed(materials: Materials, what: str) -> Embeddings:
    if materials.embeddings is None:
        raise TrainingError(f"{what} needs the uncompressed embeddings; give their folder with --embeddings")
    return materials.embeddings

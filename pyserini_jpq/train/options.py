"""Options of training: the recipe, which determines the result, and how it is run and logged."""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.cards import index_card
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.options import from_flags, on_or_off, option, switch, yes_or_no
from pyserini_jpq.train.document_options import DocumentRecipe, not_negative, share

LOSSES = ("lambda-rr", "lambda-ndcg", "ranknet", "hinge", "listwise", "distill", "margin-mse")
PSEUDO_KINDS = ("title", "sentence", "span", "keywords")
FEW_LABELS_RATE = 2e-5
"""Learning rate of the query encoder where labels are sparse, or their loss is not the paper's."""
NEGATIVES = ("live", "static", "brute-force", "random")


def _kinds(text: str) -> str:
    if unknown := [kind for kind in text.split(",") if kind not in PSEUDO_KINDS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(PSEUDO_KINDS)}")
    return text


@dataclass(frozen=True)
class Recipe(DocumentRecipe):
    """The options that determine the result of training; index cards may set them, and `jpq.json` records them.

    The defaults suit collections of some thousand documents. There the centroid learning rate matters most: it is ten
    times the largest of the paper, which takes a hundred times as many steps. Index cards hold the paper's recipes.
    """

    epochs: int | None = option(
        None, "times that every training query is seen (default: by the data)", cli.positive_int
    )
    batch_size: int = option(32, "queries a step", cli.positive_int)
    loss: str = option("lambda-rr", "what is minimised", choices=LOSSES)
    listwise_weight: float | None = option(
        None,
        "weight of the listwise loss beside another that learns from labels; 0: none (default: by the data)",
        not_negative,
    )
    distill_weight: float | None = option(
        None,
        "weight of label-free distillation beside a loss that learns from labels; 0: none (default: by the data)",
        not_negative,
    )
    distill_temperature: float = option(
        2.5, "what scaled scores are divided by in distillation; higher looks further down the list", cli.positive_float
    )
    false_negatives: float | None = option(
        None,
        "leave out negatives that the dense teacher scores above the positive less this margin (default: none)",
        float,
    )
    negatives: str = option("live", "where documents without a label come from", choices=NEGATIVES)
    num_negatives: int = option(200, "documents taken from there for each query", cli.positive_int)
    search_every: int = option(1, "steps from one search for live negatives to the next", cli.positive_int)
    in_batch_negatives: bool = option(False, "the positives of the other queries, too", yes_or_no)
    loss_scores: str = option("index", "of the index, or of the original embeddings", choices=("index", "original"))
    train_centroids: bool = option(True, "whether centroids are trained", yes_or_no)
    train_biases: bool = option(True, "whether each centroid gets a bias, trained too", yes_or_no)
    norm_bias: float | None = option(
        None, "biases start at minus this times the squared norm of the centroid (default: by the data)", not_negative
    )
    train_encoder: bool = option(True, "whether the query encoder is trained", yes_or_no)
    lr: float | None = option(None, "learning rate of the query encoder (default: by the data)", cli.positive_float)
    centroid_lr: float = option(
        1e-3, "learning rate of the centroids; of additive codes a two-hundredth of it", cli.positive_float
    )
    bias_lr: float = option(1e-4, "learning rate of the biases; of additive codes a tenth of it", cli.positive_float)
    warmup: float = option(0.1, "steps of warm-up; below 1, their share of all steps", not_negative)
    weight_decay: float = option(0.01, "weight decay of the query encoder", not_negative)
    max_grad_norm: float = option(1.0, "gradients of the query encoder are clipped to this norm", cli.positive_float)
    score_scale: float | None = option(
        None,
        "what scores are multiplied by in the loss (default: the encoder card's, or 20 for unit length)",
        cli.positive_float,
    )
    trained_share: float | None = option(
        None,
        "of what training changed in the weights, what is kept; the rest is as before training (default: by the data)",
        share,
    )
    seed: int = option(42, "of the order of queries and of dropout", cli.seed)

    def recipe(self) -> dict[str, Any]:
        """Return the fields of `Recipe`, as `jpq.json` records them; of the document side only if it is trained."""
        unused = set() if self.train_documents else {field.name for field in dataclasses.fields(DocumentRecipe)}
        names = [field.name for field in dataclasses.fields(Recipe) if field.name not in unused]
        return {name: getattr(self, name) for name in names}

    @property
    def needs_embeddings(self) -> bool:
        """Whether training reads the uncompressed embeddings."""
        return (
            self.loss == "distill"
            or bool(self.distill_weight)
            or self.false_negatives is not None
            or self.loss_scores == "original"
            or self.negatives == "brute-force"
            or self.train_documents == "linear"
        )

    @property
    def rate(self) -> float:
        """The learning rate of the query encoder; that for sparse labels where the data have not decided it."""
        return self.lr or FEW_LABELS_RATE

    @property
    def learns_biases(self) -> bool:
        """Whether biases are trained: only if centroids are, too."""
        return self.train_centroids and self.train_biases

    @property
    def learns_from_labels(self) -> bool:
        """Whether the loss needs qrels."""
        return self.loss not in ("distill", "margin-mse")

    def warmup_steps(self, total: int) -> int:
        """Return the number of steps over which learning rates rise."""
        return int(self.warmup * total if self.warmup < 1 else self.warmup)


@dataclass(frozen=True)
class TrainOptions(Recipe):
    """All options of training: the recipe, and evaluation, checkpoints, logs and hardware.

    Examples
    --------
    >>> TrainOptions(loss="listwise", epochs=2, device="cpu").centroid_lr
    0.001
    """

    dev_metric: str = option("nDCG@10", "what is best, by a name of ir_measures")
    eval_every: int | None = option(None, "steps between evaluations (default: an epoch)", cli.positive_int)
    patience: int | None = option(None, "evaluations without a new best that end training", cli.positive_int)
    checkpoint_every: int = option(1000, "steps between checkpoints", cli.positive_int)
    keep_checkpoints: int = option(2, "how many are kept", cli.positive_int)
    resume: bool = option(
        True, "go on from the newest checkpoint of an interrupted run, if there is one (default: yes)", on_or_off
    )
    log_every: int = option(10, "steps between lines of training.jsonl", cli.positive_int)
    tensorboard: Path | None = option(None, "folder to log to for TensorBoard", Path)
    device: str = option("auto", "cpu, cuda, cuda:1, or auto: a GPU if there is one")
    threads: int | None = option(None, "most threads to use; all by default", cli.positive_int)
    dtype: str = option(
        "auto",
        "what the encoder computes in; weights and scores stay float32",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    accumulate: int = option(1, "parts that a batch is computed in", cli.positive_int)
    spread_codes: bool | None = option(
        None,
        "under torchrun, whether each process holds its part of the codes and searches it for the queries of all "
        "(default: from 64 MB of codes on)",
        yes_or_no,
    )
    gradient_checkpointing: bool = option(False, "compute activations twice instead of keeping them", switch)
    yes: bool = option(False, "fetch and build what is not here without asking", switch)
    compile: bool = option(False, "compile the encoder with torch.compile", switch)
    pseudo_queries: int = option(20_000, "queries made of the documents where no topics are given", cli.positive_int)
    pseudo_kinds: str = option(
        "title,sentence,keywords", f"kinds of them, of {', '.join(PSEUDO_KINDS)}; a kind may stand twice", _kinds
    )
    generator: str | None = option(
        None, "sequence-to-sequence model that writes them instead, such as docT5query: a folder or name"
    )
    margins: str | None = option(
        None, "cross-encoder whose score margins for these queries are learned (GPL): a folder or name", metavar="MODEL"
    )
    lora_rank: int | None = option(None, "train low-rank updates of this rank (extra: lora)", cli.positive_int)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the queries that are made of each document."""
        return self.pseudo_kinds.split(",")


WITHOUT_TOPICS: Mapping[str, Any] = {"loss": "distill", "centroid_lr": 3e-4}
"""Defaults for queries that are made of the documents (figures in docs/experiments/training.md)."""


def with_recipe(given: Mapping[str, Any], recipe: str | Mapping[str, Any] | None) -> TrainOptions:
    """Return options from given values, then from a recipe, then from the defaults.

    Parameters
    ----------
    given
        Values by field; other names are ignored.
    recipe
        Values by field of `Recipe`, or the name of an index card with a recipe.

    Raises
    ------
    TrainingError
        If the recipe has an unknown field.
    """
    is_card = isinstance(recipe, str)
    values = index_card(recipe).recipe if isinstance(recipe, str) else recipe or {}
    if unknown := sorted(set(values) - {field.name for field in dataclasses.fields(Recipe)}):
        where = f"the card {recipe} has an unknown field in its recipe" if is_card else "unknown fields in the recipe"
        raise TrainingError(f"{where}: {', '.join(unknown)}")
    return from_flags(TrainOptions, given, **values)


def changed(options: TrainOptions) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    values = {field.name: (getattr(options, field.name), field.default) for field in dataclasses.fields(options)}
    return {name: value for name, (value, default) in values.items() if value != default}

"""How training goes: its numbers and switches, with defaults for small collections; an index card may name others."""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.cards import index_card
from pyserini_jpq.errors import TrainingError

LOSSES = ("lambda-rr", "lambda-ndcg", "ranknet", "hinge", "listwise", "distill", "margin-mse")
NEGATIVES = ("live", "static", "brute-force", "random")


def _option(default: Any, kind: Any, text: str, choices: tuple[str, ...] | None = None) -> Any:
    return field(default=default, metadata={"type": kind, "help": text, "choices": choices})


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _share(text: str) -> float:
    if not 0 < (value := _not_negative(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training run; every field is a flag of `python -m pyserini_jpq.train`.

    The defaults are for collections of some thousand documents, where the centroid learning rate decides: it is ten
    times the largest of the paper, which has a hundred times as many steps. Recipes of the paper come by index card.
    """

    epochs: int | None = _option(None, cli.positive_int, "times that every training query is seen")
    batch_size: int = _option(32, cli.positive_int, "queries a step")
    loss: str = _option("lambda-rr", str, "what is minimised", LOSSES)
    distill_weight: float | None = _option(
        None, _not_negative, "weight of label-free distillation beside a loss that learns from labels; 0: none"
    )
    distill_temperature: float = _option(
        2.5, cli.positive_float, "what scaled scores are divided by in distillation; higher looks further down the list"
    )
    false_negatives: float | None = _option(
        None, float, "leave out negatives that the dense teacher scores above the positive less this margin"
    )
    negatives: str = _option("live", str, "where documents without a label come from", NEGATIVES)
    num_negatives: int = _option(200, cli.positive_int, "documents taken from there for each query")
    search_every: int = _option(1, cli.positive_int, "steps from one search for live negatives to the next")
    in_batch_negatives: bool = _option(False, _yes_or_no, "the positives of the other queries, too")
    loss_scores: str = _option("index", str, "of the index, or of the original embeddings", ("index", "original"))
    train_centroids: bool = _option(True, _yes_or_no, "whether centroids are trained")
    train_biases: bool = _option(True, _yes_or_no, "whether each centroid gets a bias, trained too")
    norm_bias: float | None = _option(
        None, _not_negative, "biases start at minus this times the squared norm of the centroid"
    )
    train_encoder: bool = _option(True, _yes_or_no, "whether the query encoder is trained")
    lr: float = _option(2e-5, cli.positive_float, "learning rate of the query encoder")
    centroid_lr: float = _option(1e-3, cli.positive_float, "learning rate of the centroids")
    bias_lr: float = _option(1e-4, cli.positive_float, "learning rate of the biases")
    warmup: float = _option(0.1, _not_negative, "steps of warm-up; below 1, their share of all steps")
    weight_decay: float = _option(0.01, _not_negative, "weight decay of the query encoder")
    max_grad_norm: float = _option(1.0, cli.positive_float, "gradients of the query encoder are clipped to this norm")
    score_scale: float | None = _option(
        None, cli.positive_float, "what scores are multiplied by in the loss; the encoder card's, or 20 for unit length"
    )
    trained_share: float | None = _option(
        None, _share, "of what training changed in the weights, what is kept; the rest stays as before training"
    )
    seed: int = _option(42, cli.seed, "of the order of queries and of dropout")

    @property
    def needs_embeddings(self) -> bool:
        """Whether training reads the uncompressed embeddings."""
        return (
            self.loss == "distill"
            or bool(self.distill_weight)
            or self.false_negatives is not None
            or self.loss_scores == "original"
            or self.negatives == "brute-force"
        )

    @property
    def learns_biases(self) -> bool:
        """Whether biases are trained: with the centroids only, as an index that stays has none."""
        return self.train_centroids and self.train_biases

    @property
    def learns_from_labels(self) -> bool:
        """Whether the loss needs qrels."""
        return self.loss not in ("distill", "margin-mse")

    def steps_per_epoch(self, queries: int) -> int:
        """Return the number of steps in which every query is seen once."""
        return -(-queries // self.batch_size)

    def warmup_steps(self, total: int) -> int:
        """Return the steps over which learning rates rise."""
        return int(self.warmup * total if self.warmup < 1 else self.warmup)


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of a recipe; unset ones are left to the recipe."""
    group = parser.add_argument_group("recipe", "defaults are for small collections, or those of --recipe")
    for f in dataclasses.fields(Recipe):
        group.add_argument(
            "--" + f.name.replace("_", "-"),
            type=f.metadata["type"],
            choices=f.metadata["choices"],
            metavar="yes|no" if f.metadata["type"] is _yes_or_no else None,
            default=argparse.SUPPRESS,
            help=f"{f.metadata['help']} (default: {_shown(f.default)})",
        )


def _shown(default: Any) -> str:
    if default is None:
        return "by the data"
    return ("no", "yes")[default] if isinstance(default, bool) else str(default)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Return the recipe that the flags name: flags before the card of --recipe, the card before our defaults.

    Raises
    ------
    TrainingError
        If the card's recipe has a field that we do not know.
    """
    names = {f.name for f in dataclasses.fields(Recipe)}
    from_card: Mapping[str, Any] = index_card(args.recipe).recipe if args.recipe else {}
    if unknown := sorted(set(from_card) - names):
        raise TrainingError(f"the card {args.recipe} has an unknown field in its recipe: {', '.join(unknown)}")
    from_flags = {name: value for name, value in vars(args).items() if name in names}
    return Recipe(**{**from_card, **from_flags})

"""How training goes: its numbers, with defaults for small collections; an index card may name others."""

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.catalog import index_card
from pyserini_jpq.errors import TrainingError


def _option(default: Any, kind: Any, text: str) -> Any:
    return field(default=default, metadata={"kind": kind, "help": text})


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training run; every field is a flag of `python -m pyserini_jpq.train`.

    The defaults are for collections of some thousand documents, where the centroid learning rate decides: it is ten
    times the largest of the paper, which has a hundred times as many steps. Recipes of the paper come by index card.
    """

    epochs: int = _option(6, cli.positive_int, "times that every training query is seen")
    batch_size: int = _option(32, cli.positive_int, "queries a step")
    negatives: int = _option(200, cli.positive_int, "documents retrieved for each query at every step")
    lr: float = _option(2e-5, cli.positive_float, "learning rate of the query encoder")
    centroid_lr: float = _option(1e-3, cli.positive_float, "learning rate of the centroids")
    warmup: float = _option(0.1, _not_negative, "steps of warm-up; below 1, their share of all steps")
    weight_decay: float = _option(0.01, _not_negative, "weight decay of the query encoder")
    max_grad_norm: float = _option(1.0, cli.positive_float, "gradients of the query encoder are clipped to this norm")
    score_scale: float | None = _option(
        None, cli.positive_float, "what scores are multiplied by in the loss; the encoder card's, or 20 for unit length"
    )
    seed: int = _option(42, int, "of the order of queries and of dropout")

    def total_steps(self, queries: int) -> int:
        """Return the number of steps for that many training queries."""
        return self.epochs * self.steps_per_epoch(queries)

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
            type=f.metadata["kind"],
            default=argparse.SUPPRESS,
            help=f"{f.metadata['help']} (default: {f.default})",
        )


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

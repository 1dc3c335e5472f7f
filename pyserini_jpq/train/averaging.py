"""Averaging, in weights, what training starts from and what it ends with: WiSE-FT (Wortsman et al., CVPR 2022).

Where a query has one labelled document of many that are relevant, training learns what labels have in common besides
relevance, too. Halfway between start and end most of the gain is kept, and most of that harm is not done.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.model import JPQModel

Values = NDArray[np.float64]

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of what training changed, that are measured; all of it is the last."""
USUAL = 0.5
"""Kept unless the queries held out clearly prefer another share."""
PART, MOST, FEWEST = 0.1, 2000, 32
"""Training queries that are held out to choose: a tenth, at most 2,000; none where that makes fewer than 32."""


def hold_out(queries: Sequence[TrainingQuery], seed: int) -> tuple[list[TrainingQuery], list[TrainingQuery]]:
    """Return the queries to train on and those that are held out, each in the order that it had."""
    count = min(MOST, int(PART * len(queries)))
    if count < FEWEST:
        return list(queries), []
    chosen = set(np.random.default_rng(seed).permutation(len(queries))[:count].tolist())
    return (
        [query for i, query in enumerate(queries) if i not in chosen],
        [query for i, query in enumerate(queries) if i in chosen],
    )


def average(
    model: JPQModel,
    start: Mapping[str, torch.Tensor],
    share: float | None,
    measure: Callable[[], Values] | None,
    choose: Callable[[Mapping[float, Values]], float],
) -> tuple[float, dict[float, float]]:
    """Mix the weights that a model has now with those that it started from.

    Parameters
    ----------
    model
        After training.
    start
        What `trained_weights` returned before it.
    share
        Of what training changed that is kept; None to choose it.
    measure
        Returns the metric of each query that it is chosen by, [Q] float64, for the model as it is; None where there are
        no such queries, and the usual share is kept.
    choose
        By what rule: `preferred`, or `best` where those who gave the queries want the best of them.

    Returns
    -------
    share : float
        What was kept of what training changed.
    means : dict
        The metric by share; empty where nothing was measured.
    """
    end = trained_weights(model)
    values: dict[float, Values] = {}
    if share is None and measure is not None:
        for candidate in SHARES:
            _mix(model, start, end, candidate)
            values[candidate] = measure()
    kept = share or (choose(values) if values else USUAL)
    _mix(model, start, end, kept)
    return kept, {of: float(value.mean()) for of, value in values.items()}


def best(values: Mapping[float, Values]) -> float:
    """Return the share with the best mean, the larger one of two that are equal."""
    return max(values, key=lambda share: (values[share].mean(), share))


def preferred(values: Mapping[float, Values]) -> float:
    """Return the best share if it is more than a standard error above the usual one, else the usual one.

    Parameters
    ----------
    values
        The metric of each query by share, [Q] float64 each.
    """
    share = best(values)
    gain = values[share] - values[USUAL]
    return share if gain.mean() > gain.std() / len(gain) ** 0.5 else USUAL


def trained_weights(model: JPQModel) -> dict[str, torch.Tensor]:
    """Return a copy of the weights that have gradients, by name."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def _mix(model: JPQModel, start: Mapping[str, torch.Tensor], end: Mapping[str, torch.Tensor], share: float) -> None:
    """Let each weight be `share` of the way from `start` to `end`, and exactly `end` for a share of 1."""
    for name, parameter in model.named_parameters():
        if name in end:
            parameter.copy_(end[name] if share == 1 else start[name].lerp(end[name], share))

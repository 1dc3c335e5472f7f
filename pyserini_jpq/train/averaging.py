"""Average the weights before and after training: WiSE-FT (Wortsman et al., CVPR 2022).

Where only one of a query's many relevant documents is labelled, training also learns what labelled documents share
besides relevance. Halfway between start and end most of the gain is kept, and little of that harm.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.model import JPQModel

Values = NDArray[np.float64]

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the change that are measured; the last keeps all of it."""
USUAL = 0.5
"""The share that is kept unless the held-out queries clearly prefer another."""
PART, MOST, FEWEST = 0.1, 2000, 32
"""Training queries held out to choose the share: a tenth, at most 2,000; none where that is fewer than 32."""


def hold_out(queries: Sequence[TrainingQuery], seed: int) -> tuple[list[TrainingQuery], list[TrainingQuery]]:
    """Return the queries to train on and the held-out ones, both in their original order."""
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
    """Mix a model's weights with those that it started from.

    Parameters
    ----------
    model
        The model after training; changed in place.
    start
        What `trained_weights` returned before training.
    share
        Share of the change to keep; None to choose it.
    measure
        Returns the metric of each query, [Q] float64, for the model as it is now. None: there is nothing to measure
        on, and the usual share is kept.
    choose
        How the share is chosen: `preferred` by held-out queries, `best` by dev queries.

    Returns
    -------
    share : float
        Share of the change that was kept.
    means : dict
        Mean of the metric by share; empty if nothing was measured.
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
    """Return the share with the highest mean; of equal ones the largest."""
    return max(values, key=lambda share: (values[share].mean(), share))


def preferred(values: Mapping[float, Values]) -> float:
    """Return the best share if it beats the usual one by more than a standard error, else the usual one.

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
    """Set each weight to `share` of the way from `start` to `end`; to exactly `end` for a share of 1."""
    for name, parameter in model.named_parameters():
        if name in end:
            parameter.copy_(end[name] if share == 1 else start[name].lerp(end[name], share))

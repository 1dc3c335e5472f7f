"""The hinge loss: a positive should stand at least a margin above every negative."""

import torch
from torch.nn import functional

from pyserini_jpq.train.candidates import Candidates
from pyserini_jpq.train.losses.pairs import Pairs

MARGIN = 1.0


def hinge_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return the mean of max(0, 1 + s⁻ - s⁺) over all pairs of different grades.

    Parameters
    ----------
    scores
        [B, P + C] float32, the index's own scores.
    candidates
        The documents that they belong to.

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    pairs = Pairs.of(candidates)
    return pairs.mean(functional.relu(MARGIN + pairs.difference(scores)))

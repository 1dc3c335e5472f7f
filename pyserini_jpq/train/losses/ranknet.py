"""RankNet (Burges et al., ICML 2005): every pair counts alike."""

import torch
from torch.nn import functional

from pyserini_jpq.train.candidates import Candidates
from pyserini_jpq.train.losses.pairs import Pairs


def ranknet_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return the mean of log(1 + exp(s⁻ - s⁺)) over all pairs of different grades.

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
    # softplus is log(1 + exp(x)) without overflow.
    return pairs.mean(functional.softplus(pairs.difference(scores)))

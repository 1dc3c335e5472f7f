"""The ranking-oriented loss of JPQ: pairs weighted by what swapping them would do to the reciprocal rank."""

import torch
from torch.nn import functional

from pyserini_jpq.train.candidates import Candidates
from pyserini_jpq.train.losses.pairs import Pairs


def lambda_rr_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return the pairwise loss log(1 + exp(s⁻ - s⁺)), weighted by |1/rank⁻ - 1/rank⁺| (JPQ, section 4; LambdaRank).

    A document that was not retrieved has an infinite rank, and so no weight of its own.

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
    weights = pairs.difference(1 / candidates.ranks).abs()
    # softplus is log(1 + exp(x)) without overflow.
    return pairs.mean(functional.softplus(pairs.difference(scores)), weights)

"""LambdaRank for graded labels: pairs weighted by what swapping them would do to nDCG."""

import torch
from torch.nn import functional

from pyserini_jpq.train.candidates import Candidates
from pyserini_jpq.train.losses.pairs import Pairs


def lambda_ndcg_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return the pairwise loss log(1 + exp(s⁻ - s⁺)), weighted by |ΔnDCG| (Burges, MSR-TR-2010-82, section 4).

    The gain is 2^grade - 1, the discount 1 / log2(1 + rank), the ideal is over all labelled positives of the query.
    The weights of a query sum to at most some units, so pairs are summed, not averaged.

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
    gains = 2**candidates.grades - 1
    discounts = 1 / torch.log2(1 + candidates.ranks)
    best = (gains * candidates.mask)[:, : candidates.positives].sort(dim=1, descending=True).values
    places = torch.arange(1, best.shape[1] + 1, device=scores.device)
    ideal = (best / torch.log2(1 + places)).sum(dim=1).clamp(min=1e-6)
    changes = (pairs.difference(gains) * pairs.difference(discounts)).abs() / ideal[pairs.query][:, None]
    return pairs.total(functional.softplus(pairs.difference(scores)) * changes * pairs.mask).mean()

"""The ranking-oriented loss: pairs of documents, weighted by what swapping them would do to the reciprocal rank."""

import torch
from torch.nn import functional


def reciprocal_rank_loss(
    positive_scores: torch.Tensor,
    negative_scores: torch.Tensor,
    positive_ranks: torch.Tensor,
    negative_ranks: torch.Tensor,
    positive_mask: torch.Tensor,
    negative_mask: torch.Tensor,
) -> torch.Tensor:
    """Return the pairwise loss log(1 + exp(s⁻ - s⁺)), weighted by |1/rank⁻ - 1/rank⁺| (LambdaRank; JPQ, section 4).

    The mean is taken over the pairs of a query, then over the queries.

    Parameters
    ----------
    positive_scores
        [B, P] float32, the index's own scores of the labelled positives.
    negative_scores
        [B, C] float32, those of the retrieved documents.
    positive_ranks
        [B, P] float32, from 1; infinite for a positive that was not retrieved, which so has no weight of its own.
    negative_ranks
        [B, C] float32, from 1.
    positive_mask
        [B, P] bool, false for padding.
    negative_mask
        [B, C] bool, false for padding and for retrieved documents that are positives.

    Returns
    -------
    torch.Tensor
        A scalar, float32.
    """
    # softplus is log(1 + exp(x)) without overflow.
    pairs = functional.softplus(negative_scores[:, None, :] - positive_scores[:, :, None])
    weights = (1 / negative_ranks[:, None, :] - 1 / positive_ranks[:, :, None]).abs()
    mask = positive_mask[:, :, None] & negative_mask[:, None, :]
    sums = (pairs * weights * mask).sum(dim=(1, 2))
    return (sums / mask.sum(dim=(1, 2)).clamp(min=1)).mean()

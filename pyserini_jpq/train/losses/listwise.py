"""Listwise cross-entropy: each positive against all negatives, the other positives left out of the denominator."""

import torch

from pyserini_jpq.train.candidates import Candidates


def listwise_loss(scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return -log(exp(s⁺) / (exp(s⁺) + Σ exp(s⁻))), its mean over the positives weighted by their grades.

    Parameters
    ----------
    scores
        [B, P + C] float32, the index's own scores.
    candidates
        The documents that they belong to; negatives are those without a label.

    Returns
    -------
    torch.Tensor
        A scalar; queries without a positive count 0.
    """
    positive = scores[:, : candidates.positives]
    lowest = torch.finfo(scores.dtype).min
    negatives = scores.masked_fill(~candidates.negative_mask(), lowest).logsumexp(dim=1, keepdim=True)
    losses = torch.nn.functional.softplus(negatives - positive)
    weights = candidates.grades[:, : candidates.positives] * candidates.positive_mask()
    return ((losses * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-6)).mean()

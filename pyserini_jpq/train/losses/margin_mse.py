"""Margin-MSE: differences between scores should be those of a stronger model (Hofstätter et al., 2020)."""

import torch

from pyserini_jpq.train.candidates import Candidates


def margin_mse_loss(scores: torch.Tensor, teacher: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return the mean of ((s - s*) - (t - t*))² over the candidates, * being the one that the teacher scores highest.

    Where a query has labelled positives that the teacher has scored, the best of these is *.

    Parameters
    ----------
    scores
        [B, P + C] float32, the index's own scores.
    teacher
        [B, P + C] float32, the teacher's; NaN where it has none.
    candidates
        The documents that they belong to.

    Returns
    -------
    torch.Tensor
        A scalar; queries with fewer than two known documents count 0.
    """
    known = candidates.mask & ~teacher.isnan()
    labelled = known & (candidates.grades > 0)
    eligible = torch.where(labelled.any(dim=1, keepdim=True), labelled, known)
    best = teacher.masked_fill(~eligible, -torch.inf).argmax(dim=1, keepdim=True)
    targets = torch.where(known, teacher, 0.0)
    errors = ((scores - scores.gather(1, best)) - (targets - targets.gather(1, best))).square()
    return ((errors * known).sum(dim=1) / (known.sum(dim=1) - 1).clamp(min=1)).mean()

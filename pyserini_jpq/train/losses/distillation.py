"""Label-free distillation: the index should rank as the uncompressed encoder does (LibVQ; Xiao et al., SIGIR 2022)."""

import torch

from pyserini_jpq.train.candidates import Candidates


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of the softmax of our scores from that of the teacher's.

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
        A scalar: the mean over the queries.
    """
    known = candidates.mask & ~teacher.isnan()
    lowest = torch.finfo(scores.dtype).min
    target = teacher.masked_fill(~known, lowest).log_softmax(dim=1)
    ours = scores.masked_fill(~known, lowest).log_softmax(dim=1)
    differences = (target - ours).masked_fill(~known, 0.0)
    return (target.exp() * differences).sum(dim=1).mean()

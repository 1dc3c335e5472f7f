"""Label-free distillation: the index should rank as the uncompressed encoder does (LibVQ; Xiao et al., SIGIR 2022)."""

import torch

from pyserini_jpq.train.candidates import Candidates


def distillation_loss(
    scores: torch.Tensor, teacher: torch.Tensor, candidates: Candidates, temperature: float = 1.0
) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of the softmax of our scores from that of the teacher's, times T².

    Parameters
    ----------
    scores
        [B, P + C] float32, the index's own scores.
    teacher
        [B, P + C] float32, the teacher's; NaN where it has none.
    candidates
        The documents that they belong to.
    temperature
        T, what all scores are divided by; T² keeps gradients of one size (Hinton et al., 2015, section 2).

    Returns
    -------
    torch.Tensor
        A scalar: the mean over the queries.
    """
    known = candidates.mask & ~teacher.isnan()
    lowest = torch.finfo(scores.dtype).min
    target = (teacher / temperature).masked_fill(~known, lowest).log_softmax(dim=1)
    ours = (scores / temperature).masked_fill(~known, lowest).log_softmax(dim=1)
    differences = (target - ours).masked_fill(~known, 0.0)
    return temperature**2 * (target.exp() * differences).sum(dim=1).mean()

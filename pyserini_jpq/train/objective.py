"""The loss of a step: from labels, from a teacher, or from both."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pyserini_jpq.train.candidates import Candidates
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.losses import LabelLoss, TeacherLoss
from pyserini_jpq.train.teacher import Teacher


@dataclass(frozen=True)
class Objective:
    """What is minimised: a label loss, a teacher loss, or the first plus `teacher_weight` times the second.

    Attributes
    ----------
    label_loss
        Learns from grades; None without labels.
    teacher_loss, teacher
        Learns from the teacher's scores of the same documents; None without a teacher.
    teacher_weight
        Weight of the teacher loss.
    false_negatives
        The label loss ignores negatives that the teacher scores above the best labelled positive minus this margin;
        None keeps all.
    """

    label_loss: LabelLoss | None
    teacher_loss: TeacherLoss | None = None
    teacher: Teacher | None = None
    teacher_weight: float = 1.0
    false_negatives: float | None = None

    def __call__(self, queries: Sequence[TrainingQuery], scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
        """Return the loss of [B, P + C] float32 scores, a scalar."""
        taught = self.teacher.scores(queries, candidates.offsets) if self.teacher else None
        loss = scores.new_zeros(())
        if self.label_loss:
            labelled = candidates
            if taught is not None and self.false_negatives is not None:
                labelled = candidates.without(probable_positives(candidates, taught, self.false_negatives))
            loss = loss + self.label_loss(scores, labelled)
        if self.teacher_loss and taught is not None:
            loss = loss + self.teacher_weight * self.teacher_loss(scores, taught, candidates)
        return loss


def probable_positives(candidates: Candidates, taught: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the unlabelled documents that the teacher scores within `margin` of the best positive, [B, P + C] bool.

    Where few documents are judged, many top-ranked ones are relevant without a label (Qu et al., NAACL 2021).
    """
    positives = taught[:, : candidates.positives].masked_fill(~candidates.positive_mask(), -torch.inf)
    best = positives.amax(dim=1, keepdim=True)
    return candidates.negative_mask() & (taught > best - margin)

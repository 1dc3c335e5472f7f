"""The documents that a step ranks for each query: its labelled positives, and the chosen negatives."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pyserini_jpq.train.data import TrainingQuery


@dataclass(frozen=True)
class Candidates:
    """The documents of a batch of B queries; the first P columns are labelled positives, the others are not.

    Attributes
    ----------
    offsets : torch.Tensor
        [B, P + C] int64, rows of the index; 0 where there is no document.
    grades : torch.Tensor
        [B, P + C] float32, the label; 0 for documents without one.
    ranks : torch.Tensor
        [B, P + C] float32, from 1, as the index ranks them now; infinite for a document that was not retrieved.
    mask : torch.Tensor
        [B, P + C] bool, false for padding and for a document that another column holds already.
    positives : int
        P.
    """

    offsets: torch.Tensor
    grades: torch.Tensor
    ranks: torch.Tensor
    mask: torch.Tensor
    positives: int

    def positive_mask(self) -> torch.Tensor:
        """Return which of the first P columns hold a document, [B, P] bool."""
        return self.mask[:, : self.positives]

    def negative_mask(self) -> torch.Tensor:
        """Return which columns hold a document without a label, [B, P + C] bool; the first P never do."""
        negative = self.mask.clone()
        negative[:, : self.positives] = False
        return negative

    def ranked_by(self, scores: torch.Tensor) -> "Candidates":
        """Return the same candidates, ranked among themselves by [B, P + C] scores."""
        order = scores.detach().masked_fill(~self.mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
        places = torch.arange(1, scores.shape[1] + 1, device=scores.device, dtype=torch.float32)
        ranks = torch.empty_like(self.ranks).scatter(1, order, places.expand_as(scores))
        return replace(self, ranks=ranks)

    def without(self, dropped: torch.Tensor) -> "Candidates":
        """Return the same candidates without those that `dropped` marks, [B, P + C] bool."""
        return replace(self, mask=self.mask & ~dropped)


def make_candidates(
    queries: Sequence[TrainingQuery], chosen: torch.Tensor, retrieved: int, in_batch: bool = False
) -> Candidates:
    """Return labelled positives and chosen documents side by side.

    Parameters
    ----------
    queries
        The batch.
    chosen
        [B, C] int64, rows of the index; -1 is padding. The first `retrieved` columns are in rank order.
    retrieved
        Number of columns of `chosen` that come from a search of the index, and so have a rank.
    in_batch
        Add the first positive of every other query of the batch as a document without a label.
    """
    device = chosen.device
    positives = torch.nn.utils.rnn.pad_sequence([q.positives for q in queries], batch_first=True, padding_value=-1)
    grades = torch.nn.utils.rnn.pad_sequence([q.grades for q in queries], batch_first=True)
    positives, grades = positives.to(device), grades.to(device)
    if in_batch:
        others = (
            positives[:, 0]
            .expand(len(queries), -1)
            .masked_fill(torch.eye(len(queries), dtype=torch.bool, device=device), -1)
        )
        chosen = torch.cat([chosen, others], dim=1)
    found = (positives[:, :, None] == chosen[:, None, :]) & (positives >= 0)[:, :, None]
    ranks = torch.full(chosen.shape, torch.inf, device=device)
    ranks[:, :retrieved] = torch.arange(1, retrieved + 1, device=device, dtype=torch.float32)
    positive_ranks = torch.where(found, ranks[:, None, :], torch.inf).amin(dim=2)
    fresh = (chosen >= 0) & ~found.any(dim=1)
    if in_batch or retrieved < chosen.shape[1]:
        fresh &= ~_seen_before(chosen)
    return Candidates(
        offsets=torch.cat([positives, chosen], dim=1).clamp(min=0),
        grades=torch.cat([grades, torch.zeros(chosen.shape, device=device)], dim=1),
        ranks=torch.cat([positive_ranks, ranks], dim=1),
        mask=torch.cat([positives >= 0, fresh], dim=1),
        positives=positives.shape[1],
    )


def _seen_before(rows: torch.Tensor) -> torch.Tensor:
    """Return which entries of [B, C] repeat one further left, [B, C] bool."""
    values, order = rows.sort(dim=1, stable=True)
    repeated = torch.zeros_like(rows, dtype=torch.bool)
    repeated[:, 1:] = values[:, 1:] == values[:, :-1]
    return torch.zeros_like(repeated).scatter(1, order, repeated)

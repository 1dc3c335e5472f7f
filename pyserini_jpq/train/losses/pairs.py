"""Pairs of documents of which the first has the higher grade: what all pairwise losses are made of."""

from dataclasses import dataclass

import torch

from pyserini_jpq.train.candidates import Candidates


@dataclass(frozen=True)
class Pairs:
    """The T labelled positives of a batch, each with all P + C candidates of its query.

    One row for each positive, not for each place where one might stand: queries differ widely in how many they have.

    Attributes
    ----------
    query : torch.Tensor
        [T] int64, which of the B queries a positive belongs to.
    column : torch.Tensor
        [T] int64, which of the P columns it stands in.
    mask : torch.Tensor
        [T, P + C] bool, which pairs count: both are documents, and the positive has the higher grade.
    queries : int
        B.
    """

    query: torch.Tensor
    column: torch.Tensor
    mask: torch.Tensor
    queries: int

    @classmethod
    def of(cls, candidates: Candidates) -> "Pairs":
        """Return all pairs of a batch."""
        query, column = candidates.positive_mask().nonzero(as_tuple=True)
        higher = candidates.grades[query, column][:, None] > candidates.grades[query]
        return cls(query, column, higher & candidates.mask[query], len(candidates.mask))

    def difference(self, values: torch.Tensor) -> torch.Tensor:
        """Return the other's value less the positive's, [B, P + C] to [T, P + C]."""
        return values[self.query] - values[self.query, self.column][:, None]

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over the pairs of each query, [T, P + C], 0 where masked, to [B]."""
        return values.new_zeros(self.queries).index_add(0, self.query, values.sum(dim=1))

    def mean(self, losses: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean of weighted losses over the pairs of each query, then over the queries.

        A query without pairs counts 0.
        """
        counted = self.mask.to(losses.dtype)
        sums = self.total(losses * (counted if weights is None else weights * counted))
        return (sums / self.total(counted).clamp(min=1)).mean()

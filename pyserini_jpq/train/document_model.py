"""The model while documents are in training: codes follow their vectors (RepCONC; Zhan et al., WSDM 2022)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.index.vectors import DocumentVectors
from pyserini_jpq.quantizer import Codes, ProductQuantizer
from pyserini_jpq.train.candidates import Candidates
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.objective import Objective

_BLOCK = 16384
_SINKHORN = 100
"""Iterations, as in RepCONC's code."""


class Documents(Protocol):
    """The documents of an index, as vectors that are trained."""

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the vectors of rows in the space of the centroids, [n] int64 to [n, D] float32, with gradients."""


class MappedVectors(nn.Module):
    """Stored vectors under a linear map that is trained.

    Parameters
    ----------
    vectors
        The documents' vectors, in the order of the index.
    start
        [D, D] float32, the map before training: the rotation.
    """

    def __init__(self, vectors: DocumentVectors, start: torch.Tensor) -> None:
        super().__init__()
        self._vectors = vectors
        self.map = nn.Parameter(start.clone())

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the mapped vectors of rows, [n] int64 to [n, D] float32."""
        vectors = torch.from_numpy(self._vectors.rows(rows.cpu().numpy()))
        return vectors.to(self.map.device) @ self.map.T

    @torch.no_grad()
    def blocks(self) -> Iterator[torch.Tensor]:
        """Yield the mapped vectors of all documents in order, as [n, D] float32 blocks."""
        for block in self._vectors.blocks(_BLOCK):
            yield torch.from_numpy(block.copy()).to(self.map.device) @ self.map.T


class DocumentModel(JPQModel):
    """A JPQ model of documents that are in training.

    A document scores by the centroids nearest to its vector, which gets their gradient (straight-through, section 4.2
    of RepCONC). `codes` are those of the last `recode`; the search for negatives reads these.

    Parameters
    ----------
    encoder, quantizer, codes
        As in `JPQModel`; the quantizer is a product quantizer.
    documents
        The documents in training.
    balance
        Epsilon of `balanced`, by which the scored documents get codes; 0 takes the nearest.

    Attributes
    ----------
    distance : torch.Tensor
        Mean squared distance between the vectors that were scored last and their centroids, with gradients.
    """

    def __init__(
        self, encoder: Encoder, quantizer: ProductQuantizer, codes: Codes, documents: Any, balance: float = 0.0
    ) -> None:
        super().__init__(encoder, quantizer, codes)
        self.document_side = documents
        self.balance = balance
        self.distance = torch.zeros(())

    def score(self, rotated_queries: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Return the scores of documents by their codes as of now, [B, D] and [B, C] int64 to [B, C] float32."""
        rows, places = offsets.unique(return_inverse=True)
        vectors = self.document_side(rows)
        codes = self._codes(vectors.detach(), self.centroids.detach())
        decoded = decoded_of(codes, self.centroids)
        self.distance = (vectors - decoded).pow(2).sum(dim=1).mean()
        straight = decoded + vectors - vectors.detach()
        biases = self.biases.gather(1, codes.T).sum(dim=0)
        scores: torch.Tensor = (rotated_queries @ straight.T + biases).gather(1, places)
        return scores

    def _codes(self, vectors: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
        if self.balance and self.training:
            return balanced(vectors, centroids, self.balance)
        return nearest(vectors, centroids)

    @torch.no_grad()
    def recode(self) -> None:
        """Assign the codes of all documents anew, in place."""
        start = 0
        for vectors in self.document_side.blocks():
            self.codes[start : start + len(vectors)] = nearest(vectors, self.centroids).to(torch.uint8)
            start += len(vectors)


@dataclass(frozen=True)
class Committed(Objective):
    """An objective plus the squared distance between documents' vectors and the centroids that stand for them."""

    model: DocumentModel | None = None
    weight: float = 0.0

    def __call__(self, queries: Sequence[TrainingQuery], scores: torch.Tensor, candidates: Candidates) -> torch.Tensor:
        """Return the loss of [B, P + C] float32 scores, a scalar."""
        loss = super().__call__(queries, scores, candidates)
        return loss if self.model is None else loss + self.weight * self.model.distance


def balanced(vectors: torch.Tensor, centroids: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return near centroids, each for about as many vectors as the others: the constraint of RepCONC (section 4.3).

    Codes are the largest entries of the transport plan with uniform margins, by Sinkhorn's algorithm in logarithms. As
    in the authors' code distances are first scaled to [-1, 1] in each subspace.

    Parameters
    ----------
    vectors, centroids
        [n, D] and [M, K, D/M] float32.
    epsilon
        Weight of the plan's entropy; the smaller, the nearer the codes, and the slower is balance reached.

    Returns
    -------
    torch.Tensor
        [n, M] int64.
    """
    parts = vectors.view(len(vectors), len(centroids), -1).transpose(0, 1)
    distances = torch.cdist(parts, centroids).square().double()
    least, most = distances.amin(dim=(1, 2), keepdim=True), distances.amax(dim=(1, 2), keepdim=True)
    plan = -(2 * (distances - least) / (most - least).clamp(min=1e-9) - 1) / epsilon
    for _ in range(_SINKHORN):
        plan = plan - plan.logsumexp(dim=1, keepdim=True)  # every centroid gets as much as the others
        plan = plan - plan.logsumexp(dim=2, keepdim=True)  # every vector is given once
    return plan.argmax(dim=2).T


def nearest(vectors: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Return the nearest centroids, [n, D] and [M, K, D/M] float32 to [n, M] int64; of equally near ones the first."""
    parts = vectors.view(len(vectors), len(centroids), -1).transpose(0, 1)
    # ‖x - c‖² without ‖x‖², which is the same for all centroids.
    distances = torch.baddbmm(centroids.pow(2).sum(dim=2)[:, None], parts, centroids.transpose(1, 2), alpha=-2)
    return distances.argmin(dim=2).T


def decoded_of(codes: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Return the centroids of codes side by side, [n, M] int64 to [n, D] float32, with gradients to the centroids."""
    width = centroids.shape[2]
    return centroids.gather(1, codes.T[:, :, None].expand(-1, -1, width)).transpose(0, 1).flatten(1)

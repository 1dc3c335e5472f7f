"""Live negatives: at every step, what the index in training retrieves for the queries as they are encoded now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pyserini_jpq.train.model import JPQModel

if TYPE_CHECKING:
    import faiss

_BLOCK = 1 << 18


class FaissSearch:
    """Search on the CPU: the faiss index that holds the codes, its centroids updated in place."""

    def __init__(self, model: JPQModel, index: faiss.IndexPreTransform) -> None:
        from pyserini_jpq.index.faiss import parts_of

        self._model = model
        self._whole = index
        _, self._index = parts_of(index, "the index in training")

    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""
        from pyserini_jpq.index.faiss import set_centroids

        set_centroids(self._index, self._model.centroids.detach().numpy())
        # Beyond the last document faiss answers -1, which as a row would mean the last document.
        k = min(k, self._index.ntotal)
        _, offsets = self._index.search(np.ascontiguousarray(rotated_queries.detach().numpy()), k)
        return torch.from_numpy(offsets)


class TorchSearch:
    """Search on a GPU: all codes are scored by table, block by block, against the centroids as they are."""

    def __init__(self, model: JPQModel) -> None:
        self._model = model

    @torch.no_grad()
    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""
        codes, centroids = self._model.codes, self._model.centroids
        parts = rotated_queries.reshape(len(rotated_queries), len(centroids), -1)
        tables = torch.einsum("bmd,mkd->mbk", parts, centroids)
        best_scores: torch.Tensor | None = None
        best = torch.empty(0)
        for start in range(0, len(codes), _BLOCK):
            block = codes[start : start + _BLOCK]
            scores = tables.new_zeros(len(rotated_queries), len(block))
            for j in range(len(centroids)):
                scores += tables[j][:, block[:, j].int()]
            offsets = torch.arange(start, start + len(block), device=codes.device).expand_as(scores)
            if best_scores is not None:
                scores, offsets = torch.cat([best_scores, scores], 1), torch.cat([best, offsets], 1)
            best_scores, order = scores.topk(min(k, scores.shape[1]), dim=1)
            best = offsets.gather(1, order)
        return best


def live_search(model: JPQModel, index: faiss.IndexPreTransform) -> FaissSearch | TorchSearch:
    """Return the search for the device that the model is on."""
    return FaissSearch(model, index) if model.codes.device.type == "cpu" else TorchSearch(model)


def split_candidates(
    retrieved: torch.Tensor, positives: torch.Tensor, positive_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell which retrieved documents are negatives, and at which rank the positives were retrieved.

    Parameters
    ----------
    retrieved
        [B, C] int64, best first.
    positives
        [B, P] int64, the labelled positives, padded.
    positive_mask
        [B, P] bool, false for padding.

    Returns
    -------
    negative_mask : torch.Tensor
        [B, C] bool, false for a retrieved document that is a labelled positive.
    positive_ranks : torch.Tensor
        [B, P] float32, from 1; infinite where the positive was not retrieved.
    """
    found = (positives[:, :, None] == retrieved[:, None, :]) & positive_mask[:, :, None]
    ranks = torch.arange(1, retrieved.shape[1] + 1, device=retrieved.device, dtype=torch.float32)
    positive_ranks = torch.where(found, ranks, torch.inf).amin(dim=2)
    return ~found.any(dim=1), positive_ranks

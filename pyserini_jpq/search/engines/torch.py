"""Search on a GPU, by the scan in torch that training uses too: any M, 8 and 4 bits, one query or many."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyserini_jpq.index.faiss_format import quantizer_of, stored_codes, unpack
from pyserini_jpq.index.ivf import by_bytes
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan.blocks import best_by_table
from pyserini_jpq.search.engines.table import NO_SCORE, finite, searched_by

_QUERIES = 32
"""Queries at once: with the scores of a block of documents they take 32 MB."""


class TorchEngine:
    """Searches the codes of a faiss index on a device of torch's, which gets a copy of them.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.
    device
        Where codes lie and scores are computed.
    """

    def __init__(self, index: Any, where: str, device: torch.device) -> None:
        quantizer = by_bytes(quantizer_of(index, where))  # of 4 bits half the bytes, half the lookups
        codes = unpack(stored_codes(index, where), quantizer.m, quantizer.bits)
        self._codes = torch.tensor(codes, device=device)
        self._rotation = torch.tensor(quantizer.rotation, device=device)
        self._centroids = torch.tensor(quantizer.centroids, device=device)
        self._biases = torch.tensor(0.0 if quantizer.biases is None else quantizer.biases, device=device)

    def search(self, queries: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """Search as `faiss.Index.search`.

        Parameters
        ----------
        queries
            [B, D] float32, not rotated.
        k
            Hits wanted.

        Returns
        -------
        scores : numpy.ndarray
            [B, k] float32, falling; equal ones in any order.
        rows : numpy.ndarray
            [B, k] int64; -1 beyond the last document.

        Raises
        ------
        QuantizerError
            If a query holds NaN or infinite values.
        """
        queries = finite(queries)
        scores = np.full((len(queries), k), NO_SCORE, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        for start in range(0, len(queries), _QUERIES):
            part = torch.from_numpy(queries[start : start + _QUERIES]).to(self._codes.device) @ self._rotation.T
            tables = torch.einsum("bmd,mkd->bmk", part.view(len(part), len(self._centroids), -1), self._centroids)
            values, found = best_by_table(self._codes, tables + self._biases, k)
            place = (slice(start, start + len(part)), slice(0, found.shape[1]))
            scores[place], rows[place] = values.cpu().numpy(), found.cpu().numpy()
        return scores, rows

    def search_and_reconstruct(self, queries: Floats, k: int) -> tuple[Floats, NDArray[np.int64], Floats]:
        """Search, and return the vectors of the hits too: [B, k, D] float32, rotated back."""
        scores, rows = self.search(queries, k)
        codes = self._codes[torch.from_numpy(rows.ravel()).to(self._codes.device)].long()
        m = torch.arange(len(self._centroids), device=codes.device)
        decoded = self._centroids[m, codes].view(len(codes), -1) @ self._rotation
        return scores, rows, decoded.cpu().numpy().reshape(*rows.shape, -1)


def search_on(index: Any, where: str, device: torch.device) -> Any:
    """Let an index of ours search on a device of torch's.

    Returns
    -------
    Any
        The same index, whose `search` and `search_and_reconstruct` are replaced.
    """
    return searched_by(index, TorchEngine(index, where, device))

"""Search on a GPU, by the scan that training uses there: any M, 8 and 4 bits."""

from typing import Any

import torch

from pyserini_jpq.index.faiss_format import quantizer_of, stored_codes, unpack
from pyserini_jpq.index.ivf import by_bytes
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.scan.blocks import lookup_tables
from pyserini_jpq.scan.device import best_on_device, by_subspace
from pyserini_jpq.search.engines.base import SearchEngine

_QUERIES = 32
"""Queries per batch: their scores of a block of documents take 32 MB."""


class TorchEngine(SearchEngine):
    """Searches a copy of the codes on a torch device; ties go to the earlier row.

    Parameters
    ----------
    index, where
        As in `CodesEngine`.
    device
        Device of codes and scores.
    """

    def __init__(self, index: Any, where: str, device: torch.device) -> None:
        quantizer = by_bytes(quantizer_of(index, where))  # codes of 4 bits: half the bytes, half the lookups
        codes = unpack(stored_codes(index, where), quantizer.m, quantizer.bits)
        self._quantizer = quantizer
        self._codes = by_subspace(torch.tensor(codes), device)
        self._rotation = torch.tensor(quantizer.rotation, device=device)
        self._centroids = torch.tensor(quantizer.centroids, device=device)
        self._biases = torch.tensor(0.0 if quantizer.biases is None else quantizer.biases, device=device)
        self.dimension, self.documents = quantizer.dimension, len(codes)

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        parts = [self._best(queries[start : start + _QUERIES], k) for start in range(0, len(queries), _QUERIES)]
        scores, rows = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return scores, rows

    def _best(self, queries: Floats, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        rotated = torch.from_numpy(queries).to(self._codes.device) @ self._rotation.T
        return best_on_device(self._codes, lookup_tables(rotated, self._centroids) + self._biases, k)

    def _vectors(self, rows: Rows) -> Floats:
        codes = self._codes[torch.from_numpy(rows).to(self._codes.device)].cpu().numpy()
        vectors: Floats = self._quantizer.decode(codes) @ self._quantizer.rotation
        return vectors

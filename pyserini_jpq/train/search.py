"""Search of the index in training, with its current centroids."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch

from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.scan import PQScanner, available
from pyserini_jpq.scan.blocks import best_of_blocks
from pyserini_jpq.scan.device import best_on_device, by_subspace
from pyserini_jpq.train.model import JPQModel


class IndexSearch(Protocol):
    """Searches the index in training."""

    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""


class ScanSearch:
    """Search on the CPU by the compiled scan, which reads the codes in place; lookup tables are new at every step."""

    def __init__(self, model: JPQModel) -> None:
        self._model = model
        self._scanner = PQScanner(model.codes)

    @torch.no_grad()
    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""
        tables = self._model.tables(rotated_queries)
        return torch.from_numpy(self._scanner.search(tables, k, torch.get_num_threads())[1])


class FaissSearch:
    """Search on the CPU without the compiled scan: a faiss index of the codes, its centroids updated in place."""

    def __init__(self, model: JPQModel) -> None:
        from pyserini_jpq.index.faiss_format import parts_of, to_faiss

        self._model = model
        self._whole = to_faiss(self._quantizer(), model.codes.numpy())
        _, self._index = parts_of(self._whole, "the index in training")

    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""
        from pyserini_jpq.index.faiss_format import set_centroids, spread, widened

        quantizer = self._quantizer()
        set_centroids(self._index, widened(quantizer))
        # faiss returns -1 past the last document, which as a row would be the last document.
        k = min(k, self._index.ntotal)
        _, offsets = self._index.search(spread(quantizer, rotated_queries.detach().numpy(), 1.0), k)
        return torch.from_numpy(offsets)

    def _quantizer(self) -> ProductQuantizer:
        """Return the current quantizer, with biases even while all are 0."""
        return dataclasses.replace(self._model.quantizer(), biases=self._model.biases.detach().numpy())


class TorchSearch:
    """Search on a GPU: all codes are scored by lookup table."""

    def __init__(self, model: JPQModel) -> None:
        self._model = model

    @torch.no_grad()
    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""
        return best_on_device(self._model.codes, self._model.tables(rotated_queries), k)[1]


def index_search(model: JPQModel) -> IndexSearch:
    """Return the fastest search for the model's device."""
    if model.codes.device.type != "cpu":
        model.codes = by_subspace(model.codes)  # in place of the other layout, not beside it
        return TorchSearch(model)
    return ScanSearch(model) if available() else FaissSearch(model)


class FlatSearch:
    """Exact search of uncompressed embeddings, block by block, as they may not fit into memory.

    Parameters
    ----------
    blocks
        Returns all rows in order, as [n, D] float32 blocks; called for each search.
    """

    def __init__(self, blocks: Callable[[], Iterable[np.ndarray]]) -> None:
        self._blocks = blocks

    @torch.no_grad()
    def search(self, queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""
        return best_of_blocks(self._products(queries), queries.new_empty(len(queries), 0), k)[1]

    def _products(self, queries: torch.Tensor) -> Iterator[torch.Tensor]:
        for block in self._blocks():
            yield queries @ torch.from_numpy(np.require(block, requirements="W")).to(queries.device).T

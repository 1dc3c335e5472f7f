"""Search of the index in training, with its current centroids."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch

from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.scan import PQScanner, available
from pyserini_jpq.scan.blocks import best_of_blocks
from pyserini_jpq.scan.device import best_on_device, by_subspace
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.spread import Part

_AT_ONCE = 256
"""Queries of a process whose lookup tables are sent at once."""


class IndexSearch(Protocol):
    """Searches the index in training."""

    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""


class TableSearch(ABC):
    """Searches the codes that a model holds by lookup tables, which are new at every step.

    Parameters
    ----------
    model
        The model.
    """

    def __init__(self, model: JPQModel) -> None:
        self._model = model

    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query, [B, D] float32 to [B, min(k, N)] int64."""
        with torch.no_grad():
            return self.best(self._model.tables(rotated_queries), k)[1]

    @abstractmethod
    def best(self, tables: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and rows of the k best documents, [B, M, K] to [B, min(k, N)] float32 and int64."""


class ScanSearch(TableSearch):
    """Search on the CPU by the compiled scan, which reads the codes in place."""

    def __init__(self, model: JPQModel) -> None:
        super().__init__(model)
        self._scanner = PQScanner(model.codes)

    def best(self, tables: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and rows of the k best documents, of equal ones the earlier first."""
        scores, rows = self._scanner.search(tables, k, torch.get_num_threads())
        return torch.from_numpy(scores), torch.from_numpy(rows)


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


class TorchSearch(TableSearch):
    """Search on a GPU: all codes are scored by lookup table."""

    def __init__(self, model: JPQModel) -> None:
        super().__init__(model)
        if model.codes.device.type != "cpu":
            model.codes = by_subspace(model.codes)  # in place of the other layout, not beside it

    def best(self, tables: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and rows of the k best documents, of equal ones the earlier first."""
        return best_on_device(self._model.codes, tables, k)


class SpreadSearch:
    """Search of all documents: each process searches its part for the queries of all, and hits are merged.

    Lookup tables travel, not queries, so that hits are those of whole codes bit for bit: a matrix product may differ in
    the last bit with its number of rows.

    Parameters
    ----------
    model
        The model; it holds the codes of this process.
    part
        The documents of this process.
    own
        Their search.
    """

    def __init__(self, model: JPQModel, part: Part, own: TableSearch) -> None:
        self._model, self._part, self._own = model, part, own

    @torch.no_grad()
    def search(self, rotated_queries: torch.Tensor, k: int) -> torch.Tensor:
        """Return the k best documents of each query of this process, [B, D] float32 to [B, min(k, N)] int64.

        All processes must call it together; each has as many queries as it likes, or none.
        """
        return torch.cat(list(self._blocks(rotated_queries, k)))

    def _blocks(self, queries: torch.Tensor, k: int) -> Iterator[torch.Tensor]:
        ranks, count = self._part.ranks, torch.full((1,), len(queries), device=queries.device)
        counts = torch.cat(ranks.exchange([count] * ranks.world, [1] * ranks.world)).tolist()
        for start in range(0, max(1, *counts), _AT_ONCE):
            lengths = [min(max(count - start, 0), _AT_ONCE) for count in counts]
            yield self._search(queries[start : start + _AT_ONCE], lengths, k)

    def _search(self, queries: torch.Tensor, lengths: list[int], k: int) -> torch.Tensor:
        """Return the best documents of queries, given how many the other processes have."""
        ranks, documents = self._part.ranks, self._part.documents
        asked = ranks.exchange([self._model.tables(queries)] * ranks.world, lengths)
        scores, rows = self._own.best(torch.cat(asked), k)
        # In float64, which holds both exactly, they take one message.
        found = torch.stack([scores.double(), (rows + self._part.rows.start).double()], dim=2)
        missing = min(k, -(-documents // ranks.world)) - found.shape[1]  # a part may have a document less
        found = torch.nn.functional.pad(found, (0, 0, 0, missing), value=-torch.inf)
        merged = torch.cat(ranks.exchange(found.split(lengths), [len(queries)] * ranks.world), dim=1)
        # By rank, so of equal scores the earlier row comes first, as in the scan.
        order = merged[:, :, 0].argsort(dim=1, descending=True, stable=True)[:, : min(k, documents)]
        return merged[:, :, 1].gather(1, order).long()


def index_search(model: JPQModel) -> IndexSearch:
    """Return the fastest search for the model's device, of all documents."""
    on_cpu = model.codes.device.type == "cpu"
    if on_cpu and not available() and model.part is None:
        return FaissSearch(model)
    own = ScanSearch(model) if on_cpu and available() else TorchSearch(model)
    return own if model.part is None else SpreadSearch(model, model.part, own)


def search_shared(search: IndexSearch, ranks: Ranks, queries: torch.Tensor, k: int) -> torch.Tensor:
    """Return the k best documents of queries that all processes have; each searches for its share of them.

    Parameters
    ----------
    search
        Search of the index in training.
    ranks
        The processes.
    queries
        [B, D] float32, rotated, the same in all processes.
    k
        Hits wanted.

    Returns
    -------
    torch.Tensor
        [B, min(k, N)] int64.
    """
    found = search.search(queries[ranks.rank :: ranks.world], k)
    rows = found.new_empty(len(queries), found.shape[1])
    for rank, of_rank in enumerate(ranks.exchange([found] * ranks.world)):
        rows[rank :: ranks.world] = of_rank
    return rows


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

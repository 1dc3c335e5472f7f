"""Search of inverted lists: faiss finds the lists, the compiled scan scores their documents."""

from typing import Any

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.ivf import by_bytes, directions_of, in_directions, make_again
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.scan import ListScanner
from pyserini_jpq.search.engines.codes import TableEngine

GRAPH_FROM = 64
"""Least ratio of lists to probed lists from which a graph finds these faster than brute force."""


class ListsEngine(TableEngine):
    """Probes the lists whose directions are nearest to a query; scores are those of exhaustive search.

    Parameters
    ----------
    lists
        Inverted lists of `build_ivf`; `set_nprobe` sets how many of them are probed.
    index, where
        As in `CodesEngine`.

    Raises
    ------
    InstallationError
        If the scan was not built.
    """

    def __init__(self, lists: Any, index: Any, where: str) -> None:
        import faiss

        super().__init__(index, where)
        self._lists = lists  # the scanner keeps addresses into them
        self._spread_as = by_bytes(self.quantizer)
        inner: Any = faiss.downcast_index(lists.index)
        self._inner = inner
        coarse = directions_of(inner)
        self._graph: Any = coarse if isinstance(coarse, faiss.IndexHNSW) else None
        self._directions: Any = faiss.downcast_index(coarse.storage) if self._graph else coarse
        kept, numbers = inner.invlists, range(inner.nlist)
        sizes = np.array([kept.list_size(number) for number in numbers], dtype=np.int64)
        codes = np.array([_address(kept.get_codes(number)) for number in numbers], dtype=np.uint64)
        rows = np.array([_address(kept.get_ids(number)) for number in numbers], dtype=np.uint64)
        self._scanner = ListScanner(codes, rows, sizes, self.quantizer.bytes_per_document, self.quantizer.bits)

    def _by_tables(self, rotated: Floats, tables: Floats) -> tuple[Any, ...]:
        inner = self._inner
        by_graph = self._graph is not None and inner.nprobe * GRAPH_FROM <= inner.nlist
        coarse = self._graph if by_graph else self._directions
        _, probed = coarse.search(in_directions(self._spread_as, rotated, 1.0), inner.nprobe)
        return probed, tables

    def found(self, prepared: tuple[Any, ...], k: int, threads: int) -> tuple[Floats, Rows]:
        """Search as `TableEngine.found`."""
        scores, rows = self._scanner.search(prepared[0], prepared[1], k, threads)
        if rows.max(initial=-1) >= self.documents:
            raise IndexFolderError(
                f"the lists in {self._where} are damaged: they hold a document that the index has not; "
                f"{make_again(self._where)}"
            )
        return scores, rows


def _address(pointer: Any) -> int:
    """Return the address of a faiss pointer; 0 for None, the pointer of an empty list."""
    return int(pointer) if pointer else 0

"""The compiled scan in place of faiss's search of inverted lists, on the faiss index that holds them."""

from typing import Any

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.faiss_format import spread
from pyserini_jpq.index.ivf import by_bytes, make_again
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan import ListScanner, available
from pyserini_jpq.search.engines.table import Rows, TableEngine, searched_by

GRAPH_FROM = 64
"""Times as many lists as are searched, from which on a graph finds these faster than a comparison with all does."""


def speed_up_lists(lists: Any, index: Any, where: str) -> Any:
    """Let inverted lists be searched by the compiled scan, where that is there; scores are those of exhaustive search.

    Parameters
    ----------
    lists
        What `build_ivf` made of the index.
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.

    Returns
    -------
    Any
        The same lists, whose `search` and `search_and_reconstruct` are replaced; they hold on to the index.
    """
    return searched_by(lists, ListsEngine(lists, index, where)) if available() else lists


class ListsEngine(TableEngine):
    """Searches the lists whose directions are nearest to a query; `set_nprobe` says how many of them.

    Parameters
    ----------
    lists
        What `build_ivf` made of the index; the engine must not outlive it.
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.
    """

    def __init__(self, lists: Any, index: Any, where: str) -> None:
        import faiss

        super().__init__(index, where)
        self._index, self._where = index, where  # the codes of the index are mapped, not copied
        self._spread_as = by_bytes(self.quantizer)
        inner: Any = faiss.downcast_index(lists.index)
        self._inner = inner
        coarse: Any = faiss.downcast_index(inner.quantizer)
        self._graph: Any = coarse if isinstance(coarse, faiss.IndexHNSW) else None
        self._directions: Any = faiss.downcast_index(coarse.storage) if self._graph else coarse
        kept, numbers = inner.invlists, range(inner.nlist)
        sizes = np.array([kept.list_size(number) for number in numbers], dtype=np.int64)
        codes = np.array([_address(kept.get_codes(number)) for number in numbers], dtype=np.uint64)
        rows = np.array([_address(kept.get_ids(number)) for number in numbers], dtype=np.uint64)
        self._scanner = ListScanner(codes, rows, sizes, self.quantizer.bytes_per_document, self.quantizer.bits)

    def _scan(self, rotated: Floats, tables: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        inner = self._inner
        by_graph = self._graph is not None and inner.nprobe * GRAPH_FROM <= inner.nlist
        coarse = self._graph if by_graph else self._directions
        # Directions are 0 where a query is 1.
        _, probed = coarse.search(spread(self._spread_as, rotated, 1.0), inner.nprobe)
        scores, rows = self._scanner.search(probed, tables, k, threads)
        if rows.max(initial=-1) >= len(self._codes):
            raise IndexFolderError(
                f"the lists in {self._where} are damaged: they hold a document that the index has not; "
                f"{make_again(self._where)}"
            )
        return scores, rows


def _address(pointer: Any) -> int:
    """Return where a pointer of faiss's points to; 0 for that of an empty list, which is None."""
    return int(pointer) if pointer else 0

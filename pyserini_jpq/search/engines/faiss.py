"""Search by faiss itself: of small indexes, and where the compiled scan is not there."""

from typing import Any

from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.codes import CodesEngine


class FaissEngine(CodesEngine):
    """Hits are those of Pyserini's `FaissSearcher`, document by document.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.
    lists
        What `build_ivf` made of the index, to search those in its place.
    """

    def __init__(self, index: Any, where: str, lists: Any = None) -> None:
        super().__init__(index, where)
        self._searched = index if lists is None else lists

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        scores, rows = self._searched.search(queries, k)
        return scores, rows

"""Search by faiss itself: for small indexes, and where the compiled scan is not available."""

from typing import Any

from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.codes import CodesEngine


class FaissEngine(CodesEngine):
    """Returns exactly the hits of Pyserini's `FaissSearcher`.

    Parameters
    ----------
    index, where
        As in `CodesEngine`.
    lists
        Inverted lists of `build_ivf`, to search instead of the index.
    """

    def __init__(self, index: Any, where: str, lists: Any = None) -> None:
        super().__init__(index, where)
        self._searched = index if lists is None else lists

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        scores, rows = self._searched.search(queries, k)
        return scores, rows

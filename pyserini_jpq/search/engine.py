"""The compiled scan in place of faiss's search, on the faiss index that Pyserini holds."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq import cli
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.index.faiss import from_faiss
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan import PQScanner, available, turned_off

Rows = NDArray[np.int64]

_NO_SCORE = np.finfo(np.float32).min


def speed_up(index: Any, where: str) -> Any:
    """Let an index of ours search by the compiled scan, where that is there; the results are the reference's.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` with 8 bits a code.
    where
        Named in an error.

    Returns
    -------
    Any
        The same index, whose `search` and `search_and_reconstruct` are replaced.
    """
    if not available():
        _say_once()
        return index
    engine = ScanEngine(index, where)
    # Set on the object: it stays a faiss index, which Pyserini and others can use as such.
    index.search, index.search_and_reconstruct = engine.search, engine.search_and_reconstruct
    return index


@cache
def _say_once() -> None:
    if not turned_off():
        cli.warn("the compiled scan was not built (no C++ compiler); searching with faiss, several times slower")


class ScanEngine:
    """Searches the codes of a faiss index where they lie; it must not outlive the index.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` with 8 bits a code.
    where
        Named in an error.
    """

    def __init__(self, index: Any, where: str) -> None:
        self.quantizer, self.codes = from_faiss(index, where)
        self._scanner = PQScanner(self.codes)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `faiss.Index.search`, with as many threads as faiss is set to.

        Parameters
        ----------
        queries
            [B, D] float32, not rotated.
        k
            Hits wanted.

        Returns
        -------
        scores : numpy.ndarray
            [B, k] float32, falling.
        rows : numpy.ndarray
            [B, k] int64; -1 beyond the last document.

        Raises
        ------
        QuantizerError
            If a query holds NaN or infinite values, or values so large that scores overflow float32.
        """
        import faiss

        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not np.isfinite(queries).all():
            raise QuantizerError("a query vector holds a value that is NaN or infinite")
        with np.errstate(over="ignore", invalid="ignore"):  # the scan refuses tables that overflowed
            tables = self.quantizer.lookup_tables(queries)
        scores, rows = self._scanner.search(tables, k, faiss.omp_get_max_threads())
        missing = k - rows.shape[1]
        if missing > 0:
            scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=_NO_SCORE)
            rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
        return scores, rows

    def search_and_reconstruct(self, queries: Floats, k: int) -> tuple[Floats, Rows, Floats]:
        """Search, and return the vectors of the hits too: [B, k, D] float32, rotated back."""
        scores, rows = self.search(queries, k)
        decoded = self.quantizer.decode(self.codes[rows.ravel()]) @ self.quantizer.rotation
        return scores, rows, decoded.reshape(*rows.shape, -1)

"""What engines that search by lookup tables share: tables of queries, and the interface of a faiss index."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.index.faiss_format import quantizer_of, rotation_of, stored_codes, unpack
from pyserini_jpq.quantizer import Floats

Rows = NDArray[np.int64]

NO_SCORE = np.finfo(np.float32).min


def searched_by(index: Any, engine: Any) -> Any:
    """Return the index with `search` and `search_and_reconstruct` of an engine in place of its own."""
    # Set on the object: it stays a faiss index, which Pyserini and others can use as such.
    index.search, index.search_and_reconstruct = engine.search, engine.search_and_reconstruct
    return index


def finite(queries: Floats) -> Floats:
    """Return query vectors as contiguous float32; raises QuantizerError if one holds NaN or infinite values."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if not np.isfinite(queries).all():
        raise QuantizerError("a query vector holds a value that is NaN or infinite")
    return queries


class TableEngine(ABC):
    """Searches the codes of a faiss index; it must not outlive the index.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.
    """

    def __init__(self, index: Any, where: str) -> None:
        self.quantizer = quantizer_of(index, where)
        self._rotation = rotation_of(self.quantizer)
        self._rotation_rows = np.ascontiguousarray(self.quantizer.rotation)
        self._codes = stored_codes(index, where)

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

        queries = finite(queries)
        with np.errstate(over="ignore", invalid="ignore"):  # the scan refuses tables that overflowed
            rotated = self._rotated(queries)
            tables = self.quantizer.rotated_lookup_tables(rotated)
        scores, rows = self._scan(rotated, tables, k, faiss.omp_get_max_threads())
        missing = k - rows.shape[1]
        if missing > 0:
            scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=NO_SCORE)
            rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
        return scores, rows

    def search_and_reconstruct(self, queries: Floats, k: int) -> tuple[Floats, Rows, Floats]:
        """Search, and return the vectors of the hits too: [B, k, D] float32, rotated back; NaN beyond the last."""
        scores, rows = self.search(queries, k)
        codes = unpack(self._codes[rows.ravel()], self.quantizer.m, self.quantizer.bits)
        decoded = self.quantizer.decode(codes) @ self.quantizer.rotation
        vectors = decoded.reshape(*rows.shape, -1)
        vectors[rows < 0] = np.nan
        return scores, rows, vectors

    @abstractmethod
    def _scan(self, rotated: Floats, tables: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        """Return the best documents by the tables, k of each query or fewer columns."""

    def _rotated(self, queries: Floats) -> Floats:
        """Return queries rotated by faiss, which keeps to its threads; NumPy would wake all cores for a vector."""
        import faiss

        if len(queries) > 1:
            rotated: Floats = self._rotation.apply(queries)
            return rotated
        # Inner products with rows: half the time of faiss's product of matrices, since the rotation is read once.
        rotated = np.empty_like(queries)
        arrays = (rotated, queries, self._rotation_rows)
        functions: Any = faiss  # of which stubs know this one not
        functions.fvec_inner_products_ny(*map(faiss.swig_ptr, arrays), *self._rotation_rows.shape)
        return rotated

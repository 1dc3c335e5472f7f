"""What engines over the codes of an index share: their quantizer, their vectors, and the lookup tables of queries."""

from abc import abstractmethod
from typing import Any

import numpy as np

from pyserini_jpq.index.faiss_format import quantizer_of, rotation_of, stored_codes, unpack
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.base import SearchEngine


class CodesEngine(SearchEngine):
    """Searches the codes of a faiss index where they lie; memory-mapped ones are not copied.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.
    """

    def __init__(self, index: Any, where: str) -> None:
        self._index, self._where = index, where  # of which the codes are a view
        self.quantizer = quantizer_of(index, where)
        self._codes = stored_codes(index, where)
        self._rotation = rotation_of(self.quantizer)
        self.dimension, self.documents = self.quantizer.dimension, len(self._codes)

    def _vectors(self, rows: Rows) -> Floats:
        codes = unpack(self._codes[rows], self.quantizer.m, self.quantizer.bits)
        vectors: Floats = self._rotation.reverse_transform(self.quantizer.decode(codes))
        return vectors


class TableEngine(CodesEngine):
    """Searches by tables of what a code adds to the score."""

    def __init__(self, index: Any, where: str) -> None:
        super().__init__(index, where)
        self._rotation_rows = np.ascontiguousarray(self.quantizer.rotation)

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        with np.errstate(over="ignore", invalid="ignore"):  # the scan refuses tables that overflowed
            rotated = self._rotated(queries)
            tables = self._tables(rotated)
        return self._scan(rotated, tables, k, threads)

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

    def _tables(self, rotated: Floats) -> Floats:
        """Return a table of 256 entries for each byte of a document: two of 16 make one of their sums."""
        tables = self.quantizer.rotated_lookup_tables(rotated)
        if self.quantizer.bits == 8:
            return tables
        tables = np.pad(tables, ((0, 0), (0, self.quantizer.m % 2), (0, 0)))
        pairs: Floats = tables[:, ::2, None, :] + tables[:, 1::2, :, None]
        return pairs.reshape(len(rotated), -1, 256)

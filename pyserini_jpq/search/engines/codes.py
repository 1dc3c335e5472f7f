"""The base classes of engines over codes: quantizer, reconstruction, lookup tables."""

from abc import abstractmethod
from typing import Any

import numpy as np

from pyserini_jpq.index.faiss_format import quantizer_of, rotation_of, stored_codes, unpack
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.base import SearchEngine


class CodesEngine(SearchEngine):
    """Searches the codes of a faiss index in place; memory-mapped codes are not copied.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits per code.
    where
        Path or name of the index, for errors.
    """

    def __init__(self, index: Any, where: str) -> None:
        self._index, self._where = index, where  # the codes are a view into the index
        self.quantizer = quantizer_of(index, where)
        self._codes = stored_codes(index, where)
        self._rotation = rotation_of(self.quantizer)
        self.dimension, self.documents = self.quantizer.dimension, len(self._codes)

    def _vectors(self, rows: Rows) -> Floats:
        codes = unpack(self._codes[rows], self.quantizer.m, self.quantizer.bits)
        vectors: Floats = self._rotation.reverse_transform(self.quantizer.decode(codes))
        return vectors


class TableEngine(CodesEngine):
    """Searches by lookup tables."""

    def __init__(self, index: Any, where: str) -> None:
        super().__init__(index, where)
        self._rotation_rows = np.ascontiguousarray(self.quantizer.rotation)

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        with np.errstate(over="ignore", invalid="ignore"):  # the scan refuses tables that overflowed
            rotated = self._rotated(queries)
            tables = self.quantizer.rotated_lookup_tables(rotated)
        return self._scan(rotated, tables, k, threads)

    @abstractmethod
    def _scan(self, rotated: Floats, tables: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        """Return scores and rows of the best documents by the lookup tables, [B, k] or fewer columns."""

    def _rotated(self, queries: Floats) -> Floats:
        """Rotate queries by faiss, whose threads are limited; NumPy would use all cores for one vector."""
        import faiss

        if len(queries) > 1:
            rotated: Floats = self._rotation.apply(queries)
            return rotated
        # Half the time of faiss's matrix product, as it reads the rotation once.
        rotated = np.empty_like(queries)
        arrays = (rotated, queries, self._rotation_rows)
        functions: Any = faiss  # the stubs lack this function
        functions.fvec_inner_products_ny(*map(faiss.swig_ptr, arrays), *self._rotation_rows.shape)
        return rotated

"""The base classes of engines over codes: quantizer, reconstruction, lookup tables."""

from abc import abstractmethod
from typing import Any

import numpy as np

from pyserini_jpq.index.faiss_format import quantizer_of, rotation_of, stored_codes, unpack
from pyserini_jpq.quantizer import Codes, Floats, Rows
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
        self.codes = stored_codes(index, where)
        self._rotation = rotation_of(self.quantizer)
        self.dimension, self.documents = self.quantizer.dimension, len(self.codes)

    def _vectors(self, rows: Rows) -> Floats:
        return self.decoded(self.codes[rows])

    def decoded(self, stored: Codes) -> Floats:
        """Return the vectors of codes as faiss stores them, [n, bytes of a document] uint8 to [n, D] float32."""
        codes = unpack(stored, self.quantizer.m, self.quantizer.bits)
        vectors: Floats = self._rotation.reverse_transform(self.quantizer.decode(codes))
        return vectors


class TableEngine(CodesEngine):
    """Searches by lookup tables."""

    def __init__(self, index: Any, where: str) -> None:
        super().__init__(index, where)
        self._rotation_rows = np.ascontiguousarray(self.quantizer.rotation)

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        return self.found(self.prepared(queries), k, threads)

    def prepared(self, queries: Floats) -> tuple[Any, ...]:
        """Return what a search needs of the queries, [B, D] float32, here the lookup tables, [B, M, K] float32.

        It is the same for all shards of an index.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # the scan refuses tables that overflowed
            rotated = self._rotated(queries)
            return self._by_tables(rotated, self._tables(rotated))

    def _by_tables(self, rotated: Floats, tables: Floats) -> tuple[Any, ...]:
        """Return what a search needs, given rotated queries and their lookup tables."""
        return (tables,)

    @abstractmethod
    def found(self, prepared: tuple[Any, ...], k: int, threads: int) -> tuple[Floats, Rows]:
        """Return scores and rows of the best documents, [B, k] or fewer columns, given what `prepared` returned."""

    def _rotated(self, queries: Floats) -> Floats:
        """Rotate queries by faiss, whose threads are limited; NumPy would use all cores for one vector."""
        if len(queries) > 1:
            rotated: Floats = self._rotation.apply(queries)
            return rotated
        # Half the time of faiss's matrix product, as it reads the rotation once.
        return _products(self._rotation_rows, queries[0])[None]

    def _tables(self, rotated: Floats) -> Floats:
        quantizer = self.quantizer
        if len(rotated) > 1 or not quantizer.additive:
            return quantizer.rotated_lookup_tables(rotated)
        # For so large a product NumPy wakes threads that then stand in the way of the encoder's.
        books = quantizer.centroids.reshape(quantizer.parts, -1, quantizer.centroids.shape[2])
        parts = rotated.reshape(quantizer.parts, -1)
        tables = np.concatenate([_products(*both) for both in zip(books, parts, strict=True)])
        tables = tables.reshape(1, quantizer.m, quantizer.k)
        return tables if quantizer.biases is None else tables + quantizer.biases


def _products(rows: Floats, vector: Floats) -> Floats:
    """Return the inner products of rows, [n, D] float32 and contiguous, with a vector, in this thread alone."""
    import faiss

    products = np.empty(len(rows), dtype=np.float32)
    arrays = (products, np.ascontiguousarray(vector), rows)
    functions: Any = faiss  # the stubs lack this function
    functions.fvec_inner_products_ny(*map(faiss.swig_ptr, arrays), rows.shape[1], len(rows))
    return products

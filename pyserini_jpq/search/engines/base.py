"""The interface of the search engines: query vectors in, scores and rows of the best documents out."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from pyserini_jpq.errors import JPQError, QuantizerError
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.threads import faiss_threads

NO_SCORE = np.finfo(np.float32).min


class SearchEngine(ABC):
    """Searches documents by inner product.

    An engine is immutable: threads can share it, and copying returns the engine itself. Engines of `open_index` can be
    pickled; they are reopened from their folder.

    Attributes
    ----------
    dimension : int
        Number of dimensions D of a vector.
    documents : int
        Number of documents N.
    reopen : tuple or None
        A function that reopens the engine, and its arguments; None for an engine in memory only.
    """

    dimension: int
    documents: int
    reopen: tuple[Callable[..., "SearchEngine"], tuple[Any, ...]] | None = None

    def search(self, queries: Floats, k: int, threads: int = 1) -> tuple[Floats, Rows]:
        """Return the k best documents of each query.

        Parameters
        ----------
        queries
            [B, D] float32.
        k
            Number of hits.
        threads
            Most threads to use, at most one per core.

        Returns
        -------
        scores : numpy.ndarray
            [B, k] float32, descending; the lowest float32 beyond the last document.
        rows : numpy.ndarray
            [B, k] int64; -1 beyond the last document.

        Raises
        ------
        QuantizerError
            If the queries have another shape, NaN or infinite values, or overflow the scores; or if k or threads is
            below 1.
        """
        queries, k, threads = checked_vectors(queries, self.dimension), whole(k, "k"), whole(threads, "threads")
        if k < 1 or threads < 1:
            raise QuantizerError(f"k is {k} and threads {threads}; both must be at least 1")
        if not len(queries):
            return np.empty((0, k), dtype=np.float32), np.empty((0, k), dtype=np.int64)
        with faiss_threads(threads):
            scores, rows = self._search(queries, k, threads)
        missing = k - rows.shape[1]
        if missing > 0:
            scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=NO_SCORE)
            rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
        return scores, rows

    def reconstruct(self, rows: Rows) -> Floats:
        """Return the vectors of documents as reconstructed from the index.

        Parameters
        ----------
        rows
            Int64 of any shape, such as the rows of `search`.

        Returns
        -------
        numpy.ndarray
            [*rows.shape, D] float32; NaN where a row is -1.
        """
        flat = np.asarray(rows).ravel()
        vectors, there = np.full((flat.size, self.dimension), np.nan, dtype=np.float32), flat >= 0
        if there.any():
            with faiss_threads(1):
                vectors[there] = self._vectors(flat[there])
        return vectors.reshape(*np.shape(rows), self.dimension)

    @abstractmethod
    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        """Return scores and rows of the best documents, [B, k] or fewer columns; faiss's threads are set."""

    @abstractmethod
    def _vectors(self, rows: Rows) -> Floats:
        """Return the vectors of rows, [n] int64 to [n, D] float32."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "SearchEngine":
        """Return the engine itself."""
        return self

    def __reduce__(self) -> tuple[Callable[..., "SearchEngine"], tuple[Any, ...]]:
        """Pickle how to reopen the engine, not its content."""
        if self.reopen is None:
            raise JPQError("this engine searches what is in memory and cannot be pickled; open an index folder")
        return self.reopen


def checked_vectors(queries: Floats, dimension: int) -> Floats:
    """Return query vectors as contiguous float32.

    Raises
    ------
    QuantizerError
        If they are not numbers, not [B, D], or not finite.
    """
    try:
        vectors = np.asarray(queries).astype(np.float32, order="C", casting="same_kind", copy=False)
    except (TypeError, ValueError):
        raise QuantizerError(f"the queries are no numbers; an engine searches for vectors, [B, {dimension}]") from None
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise QuantizerError(f"query vectors have shape {vectors.shape}; the index has {dimension} dimensions")
    if not np.isfinite(vectors).all():
        raise QuantizerError("a query vector holds a value that is NaN or infinite")
    return vectors


def whole(value: Any, name: str) -> int:
    """Return an integer of any type as an int; raise QuantizerError for other values."""
    try:
        return operator.index(value)
    except TypeError:
        raise QuantizerError(f"{name} is {value!r}; give a whole number") from None

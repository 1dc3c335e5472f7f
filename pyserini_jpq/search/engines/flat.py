"""Exact search of uncompressed embeddings: what an index is measured against."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.quantizer import Floats, Rows, best_of_blocks
from pyserini_jpq.search.engines.base import SearchEngine

_BLOCK = 1 << 16


class FlatEngine(SearchEngine):
    """Looks at all embeddings, which are read in blocks, once for each batch of queries.

    Parameters
    ----------
    embeddings
        What `python -m pyserini_jpq.encode` wrote.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self.dimension, self.documents = embeddings.dimension, embeddings.documents

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        return best_of_blocks(self._nearest(queries, k), len(queries), k)

    def _nearest(self, queries: Floats, k: int) -> Iterator[tuple[Floats, Rows]]:
        """Yield the best documents of a block after the other."""
        import faiss

        start = 0
        for block in self.embeddings.blocks(_BLOCK):
            scores, rows = _knn(faiss, queries, block, min(k, len(block)))
            yield scores, rows + start
            start += len(block)

    def _vectors(self, rows: Rows) -> Floats:
        return self.embeddings.rows(rows)


def _knn(faiss: Any, queries: Floats, block: np.ndarray, k: int) -> tuple[Floats, Rows]:
    found: tuple[Floats, Rows] = faiss.knn(queries, block, k, faiss.METRIC_INNER_PRODUCT)
    return found

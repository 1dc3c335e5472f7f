"""Exact search of uncompressed embeddings."""

from collections.abc import Iterator

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.quantizer import Floats, Rows, best_of_blocks
from pyserini_jpq.search.engines.base import SearchEngine

_BLOCK = 1 << 16


class FlatEngine(SearchEngine):
    """Scores all embeddings, which are read in blocks, once for each batch of queries.

    Parameters
    ----------
    embeddings
        Embeddings of `python -m pyserini_jpq.encode`.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self.dimension, self.documents = embeddings.dimension, embeddings.documents

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        return best_of_blocks(self._nearest(queries, k), len(queries), k)

    def _nearest(self, queries: Floats, k: int) -> Iterator[tuple[Floats, Rows]]:
        """Yield scores and rows of the best documents of each block."""
        import faiss

        start = 0
        for block in self.embeddings.blocks(_BLOCK):
            scores, rows = faiss.knn(queries, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
            yield scores, rows + start
            start += len(block)

    def _vectors(self, rows: Rows) -> Floats:
        return self.embeddings.rows(rows)

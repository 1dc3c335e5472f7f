"""An adapter from an engine to the faiss index that Pyserini's `FaissSearcher` expects."""

from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.base import SearchEngine


class FaissLike:
    """The part of a faiss index that `FaissSearcher` of Pyserini 1.6 and 2.4, feedback and hybrid search use.

    Parameters
    ----------
    engine
        Engine to search with. It uses faiss's number of threads, which Pyserini sets before each search.
    """

    metric_type = 0  # inner product: Pyserini maps only such scores to the unit interval

    def __init__(self, engine: SearchEngine) -> None:
        self.engine = engine

    @property
    def d(self) -> int:
        """The number of dimensions."""
        return self.engine.dimension

    @property
    def ntotal(self) -> int:
        """The number of documents."""
        return self.engine.documents

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `faiss.Index.search`."""
        import faiss

        return self.engine.search(queries, k, faiss.omp_get_max_threads())

    def search_and_reconstruct(self, queries: Floats, k: int) -> tuple[Floats, Rows, Floats]:
        """Search, and return the vectors of the hits as well: [B, k, D] float32; NaN where the row is -1."""
        scores, rows = self.search(queries, k)
        return scores, rows, self.engine.reconstruct(rows)

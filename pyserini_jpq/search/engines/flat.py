"""Exact search of uncompressed embeddings: what an index is measured against."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compat import pyserini
from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.encoder import encode_queries

_BLOCK = 1 << 16


def is_flat(folder: Path) -> bool:
    """Tell whether a folder holds embeddings, and no index."""
    return (folder / MANIFEST).is_file()


class FlatSearcher:
    """Ranks all documents by the inner products of their embeddings with the query's.

    Parameters
    ----------
    folder
        What `python -m pyserini_jpq.encode` wrote; it is read in blocks, once for each batch of queries.
    encoder
        A `QueryEncoder`.
    """

    def __init__(self, folder: str | Path, encoder: Any) -> None:
        self.embeddings = Embeddings(folder)
        self.query_encoder = encoder
        self.docids = list(self.embeddings.docids())
        self._hit = pyserini.dense_search_result()

    def batch_search(
        self, queries: Any, q_ids: Sequence[str], k: int = 10, threads: int = 1, **_: Any
    ) -> dict[str, list[Any]]:
        """Search for several query texts or vectors, as `JPQFaissSearcher.batch_search` does.

        Parameters
        ----------
        queries
            Texts, or vectors [B, D] float32.
        q_ids
            B query ids.
        k
            Hits wanted for each.
        threads
            Most threads to use.
        """
        import faiss

        faiss.omp_set_num_threads(threads)
        vectors = queries if isinstance(queries, np.ndarray) else encode_queries(self.query_encoder, list(queries))
        scores, rows = self._nearest(np.ascontiguousarray(vectors, dtype=np.float32), k)
        return {
            qid: [self._hit(self.docids[row], float(score)) for row, score in zip(best, values, strict=True)]
            for qid, best, values in zip(q_ids, rows, scores, strict=True)
        }

    def _nearest(self, vectors: Floats, k: int) -> tuple[Floats, np.ndarray]:
        import faiss

        scores = np.empty((len(vectors), 0), dtype=np.float32)
        rows = np.empty((len(vectors), 0), dtype=np.int64)
        start = 0
        for block in self.embeddings.blocks(_BLOCK):
            found: Any = faiss.knn(vectors, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
            scores = np.concatenate([scores, found[0]], axis=1)
            rows = np.concatenate([rows, found[1] + start], axis=1)
            start += len(block)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        return scores, rows

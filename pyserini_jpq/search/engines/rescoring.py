"""The second stage without texts: the best hits by codes are scored again by the vectors that the index keeps."""

import numpy as np

from pyserini_jpq.errors import IndexFolderError, QuantizerError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.vectors import Vectors, vectors_of
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.base import NO_SCORE, SearchEngine, whole


class RescoringEngine(SearchEngine):
    """Searches by another engine, then orders its best hits by inner products with stored vectors.

    A hit that is scored again has that inner product for its score. The hits behind keep their order and their scores
    by codes, all lowered by the same amount where the first of them would stand above the last one that was scored
    again.

    Parameters
    ----------
    engine
        The first stage.
    vectors
        The vectors of its documents.
    depth
        Hits of each query that are scored again.

    Raises
    ------
    QuantizerError
        If `depth` is no whole number above 0.
    """

    def __init__(self, engine: SearchEngine, vectors: Vectors, depth: int) -> None:
        self.engine, self.vectors, self.depth = engine, vectors, whole(depth, "rescore")
        if self.depth < 1:
            raise QuantizerError(f"rescore is {depth}; give the number of hits that are scored again, at least 1")
        self.dimension, self.documents = engine.dimension, engine.documents

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        scores, rows = self.engine.search(queries, min(max(k, self.depth), self.documents), threads)
        best, rest = rows[:, : self.depth], scores[:, self.depth :]
        exact = np.where(best < 0, NO_SCORE, self.vectors.scores(queries, np.maximum(best, 0)))
        order = np.argsort(-exact, axis=1, kind="stable")
        exact, best = np.take_along_axis(exact, order, axis=1), np.take_along_axis(best, order, axis=1)
        lowered = np.minimum(0, exact[:, -1:] - rest[:, :1])
        rest = np.where(rows[:, self.depth :] < 0, NO_SCORE, rest + lowered)
        return (
            np.concatenate([exact, rest], axis=1)[:, :k].astype(np.float32),
            np.concatenate([best, rows[:, self.depth :]], axis=1)[:, :k],
        )

    def _vectors(self, rows: Rows) -> Floats:
        return self.vectors.rows(rows)


def kept_vectors(index: IndexFolder) -> Vectors:
    """Return the vectors of an index.

    Raises
    ------
    IndexFolderError
        If it keeps none, or their file is damaged.
    """
    if (vectors := vectors_of(index)) is None:
        raise IndexFolderError(
            f"{index.path} keeps no vectors to score hits again; `python -m pyserini_jpq.index --index {index.path} "
            "--keep-vectors int8` writes them, from its embeddings"
        )
    return vectors

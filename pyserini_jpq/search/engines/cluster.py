"""Search of an index on a Ray cluster: actors search some shards each, and their best documents are merged."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pyserini_jpq.cluster import Cluster
from pyserini_jpq.quantizer import Floats, Rows, best_of_blocks
from pyserini_jpq.search.engines.base import SearchEngine
from pyserini_jpq.search.engines.shards import ShardsEngine
from pyserini_jpq.search.threads import faiss_threads


class ShardSearcher:
    """Searches some shards of an index in the process of an actor.

    Parameters
    ----------
    reopen
        Reopens the engine of the whole index here; it refuses another index.
    shards
        Numbers of the shards; of an engine that is not in shards all documents are searched.
    """

    def __init__(self, reopen: tuple[Callable[..., SearchEngine], tuple[Any, ...]], shards: range) -> None:
        function, arguments = reopen
        self._engine, self._shards = function(*arguments), shards

    def do(self, piece: tuple[Floats, int, int]) -> tuple[Floats, Rows]:
        """Return scores and rows of the best documents, given queries [B, D], k and the number of threads."""
        if isinstance(self._engine, ShardsEngine):
            with faiss_threads(piece[2]):
                return self._engine.search_some(*piece, self._shards)
        return self._engine.search(*piece)


class ClusterEngine(SearchEngine):
    """Returns the hits of an engine, which actors search a part each; the actors stay as long as the engine.

    Parameters
    ----------
    cluster
        The cluster, whose machines see the index under the same path. It has an actor for each shard, or fewer that
        search several.
    engine
        The engine of the index, here, which can be reopened.
    """

    def __init__(self, cluster: Cluster, engine: SearchEngine) -> None:
        self._cluster, self._engine = cluster, engine
        self.dimension, self.documents = engine.dimension, engine.documents
        shards = engine.shards if isinstance(engine, ShardsEngine) else 1
        actors = min(cluster.size(), shards)
        parts = [range(shards * i // actors, shards * (i + 1) // actors) for i in range(actors)]
        self._actors = cluster.start(ShardSearcher, [(engine.reopen, part) for part in parts])

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        asked = [actor.do.remote((queries, k, threads)) for actor in self._actors]
        found: list[Any] = self._cluster.got(asked)
        return best_of_blocks(found, len(queries), k)

    def _vectors(self, rows: Rows) -> Floats:
        return np.asarray(self._engine.reconstruct(rows))

"""Search of an index in shards: the shards are scanned one after the other, and their best documents merged."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyserini_jpq.index.joined import JoinedCodes, Places
from pyserini_jpq.quantizer import Floats, Rows, best_of_blocks
from pyserini_jpq.search.engines.base import SearchEngine
from pyserini_jpq.search.engines.codes import TableEngine


class ShardsEngine(SearchEngine):
    """Returns the hits of the unsharded index, bit for bit; of equal scores the earlier row first.

    What depends on the query alone, its lookup tables and the lists to probe, is computed once, by the first shard. The
    shards are memory-mapped: each is read while it is scanned, and the system may forget it then.

    Parameters
    ----------
    engines
        The engines of the shards in row order, all of one kind and one quantizer, with the same directions of lists.
    """

    def __init__(self, engines: Sequence[TableEngine]) -> None:
        self._engines, self._places = engines, Places([engine.documents for engine in engines])
        self.dimension, self.documents = engines[0].dimension, self._places.total

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self._engines)

    def _search(self, queries: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        return self.search_some(queries, k, threads, range(self.shards))

    def search_some(self, queries: Floats, k: int, threads: int, parts: range) -> tuple[Floats, Rows]:
        """Return scores and rows of the best documents of some shards; parameters as for `search`."""
        prepared = self._engines[0].prepared(queries)
        return best_of_blocks((self._found(part, prepared, k, threads) for part in parts), len(queries), k)

    def _found(self, part: int, prepared: tuple[Any, ...], k: int, threads: int) -> tuple[Floats, Rows]:
        """Return the best documents of a shard, by their rows in the whole."""
        scores, rows = self._engines[part].found(prepared, k, threads)
        return scores, np.where(rows < 0, rows, rows + self._places.starts[part])

    def _vectors(self, rows: Rows) -> Floats:
        # At once: a product's order of summation may depend on its number of rows.
        return self._engines[0].decoded(JoinedCodes([engine.codes for engine in self._engines])[rows])

"""From query vectors to hits: the rows and scores of an engine, with docids."""

from collections.abc import Callable, Iterator
from typing import Any

from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.base import SearchEngine


def hits_of(
    engine: SearchEngine,
    docids: Callable[[Rows], list[str]],
    vectors: Floats,
    k: int,
    threads: int,
    make: Callable[[str, Any], Any],
) -> Iterator[list[Any]]:
    """Yield the hits of each query, best first; fewer than k where there are no more.

    Parameters
    ----------
    engine
        Searches.
    docids
        Returns the docids of rows, [n] int64, such as `Docids.at`.
    vectors
        [B, D] float32.
    k
        Hits wanted of each query.
    threads
        Most threads to use.
    make
        Makes a hit of a docid and a score.
    """
    scores, rows = engine.search(vectors, k, threads)
    for of_query, best in zip(scores, rows, strict=True):
        there = best >= 0
        yield list(map(make, docids(best[there]), of_query[there]))

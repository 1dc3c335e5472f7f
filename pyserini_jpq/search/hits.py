"""From query vectors to hits: the rows and scores of an engine, with docids."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pyserini_jpq.data.collection import Document
from pyserini_jpq.index.texts import Texts
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.base import SearchEngine


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search found.

    Attributes
    ----------
    docid
        Its external id.
    score
        What it ranks by: an inner product, plus the biases of its codes.
    """

    docid: str
    score: float
    _texts: Texts | None = None

    @property
    def document(self) -> Document | None:
        """Its title and text, read when they are asked for; None where the index keeps none."""
        return self._texts.get(self.docid) if self._texts is not None else None

    @property
    def title(self) -> str | None:
        """Its title, which may be empty; None where the index keeps no texts."""
        return None if (document := self.document) is None else document.title

    @property
    def text(self) -> str | None:
        """Its text; None where the index keeps no texts."""
        return None if (document := self.document) is None else document.text

    def __repr__(self) -> str:
        """Return docid and score."""
        return f"Hit(docid={self.docid!r}, score={self.score:.4f})"


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

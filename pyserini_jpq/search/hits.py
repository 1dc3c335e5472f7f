"""Hits: the rows and scores of an engine, with docids and texts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pyserini_jpq.data.collection import Document
from pyserini_jpq.index.texts import Texts
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.search.engines.base import SearchEngine

_LOOKED_UP = 1 << 16
"""Most hits whose docids are looked up at once: of a file, what lies close together is read together."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved document.

    Attributes
    ----------
    docid
        The document's external id.
    score
        Inner product with the query, plus the biases of the document's codes; or with the stored vector, if rescored.
    """

    docid: str
    score: float
    _texts: Texts | None = None

    @property
    def document(self) -> Document | None:
        """The document's title and text, read on access; None if the index keeps no texts."""
        return self._texts.get(self.docid) if self._texts is not None else None

    @property
    def title(self) -> str | None:
        """The document's title, which may be empty; None if the index keeps no texts."""
        return None if (document := self.document) is None else document.title

    @property
    def text(self) -> str | None:
        """The document's text; None if the index keeps no texts."""
        return None if (document := self.document) is None else document.text

    def __repr__(self) -> str:
        """Return docid and score."""
        return f"Hit(docid={self.docid!r}, score={self.score:.4f})"


def documents_of(hits: Iterable[Hit], otherwise: Texts | None) -> dict[str, Document]:
    """Return the documents of hits by docid, as of the version that found them; of others, from `otherwise`."""
    asked: dict[int, tuple[Texts, list[str]]] = {}
    for hit in hits:
        texts = otherwise if hit._texts is None else hit._texts
        if texts is not None:
            asked.setdefault(id(texts), (texts, []))[1].append(hit.docid)
    return {docid: document for texts, docids in asked.values() for docid, document in texts.several(docids).items()}


def ranked(
    engine: SearchEngine, docids: Callable[[Rows], list[str]], vectors: Floats, k: int, threads: int
) -> Iterator[tuple[list[str], Floats]]:
    """Yield docids and scores, [n] float32, of the hits of each query; parameters as for `hits_of`."""
    scores, rows = engine.search(vectors, k, threads)
    size = max(1, _LOOKED_UP // max(1, rows.shape[1]))
    for start in range(0, len(rows), size):
        there = rows[start : start + size] >= 0
        found, end = docids(rows[start : start + size][there]), 0
        for of_query, kept in zip(scores[start : start + size], there, strict=True):
            begin, end = end, end + int(kept.sum())
            yield found[begin:end], of_query[kept]


def hits_of(
    engine: SearchEngine,
    docids: Callable[[Rows], list[str]],
    vectors: Floats,
    k: int,
    threads: int,
    make: Callable[[str, Any], Any],
) -> Iterator[list[Any]]:
    """Yield the hits of each query, best first: k, or all documents if these are fewer.

    Parameters
    ----------
    engine
        Engine to search with.
    docids
        Returns the docids of rows, [n] int64, such as `Docids.at`.
    vectors
        [B, D] float32.
    k
        Hits per query.
    threads
        Most threads to use.
    make
        Makes a hit from a docid and a score.
    """
    for found, scores in ranked(engine, docids, vectors, k, threads):
        yield list(map(make, found, scores))

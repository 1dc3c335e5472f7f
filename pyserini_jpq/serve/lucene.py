"""BM25 and stored documents of a Lucene index; the only part of the server that starts a JVM."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyserini_jpq.compat import pyserini
from pyserini_jpq.errors import IndexFolderError, first_line
from pyserini_jpq.search.hits import Hit
from pyserini_jpq.serve.documents import Stored


class Lucene:
    """A Lucene index that Pyserini reads, always from one thread, which the JVM knows.

    Parameters
    ----------
    path
        The folder of the index.

    Raises
    ------
    IndexFolderError
        If Lucene cannot open it.
    """

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lucene")
        self._searcher = self._thread.submit(_opened, path).result()

    def search(self, queries: Sequence[str], hits: int) -> list[list[Hit]]:
        """Return the hits of BM25 for each query, best first."""
        return self._thread.submit(self._search, queries, hits).result()

    def documents(self, docids: Sequence[str]) -> dict[str, Stored]:
        """Return the documents that the index stores, by docid."""
        return self._thread.submit(self._documents, docids).result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _search(self, queries: Sequence[str], hits: int) -> list[list[Hit]]:
        found = [self._searcher.search(query, hits) for query in queries]
        return [[Hit(hit.docid, float(hit.score)) for hit in of_query] for of_query in found]

    def _documents(self, docids: Sequence[str]) -> dict[str, Stored]:
        found = ((docid, self._searcher.doc(docid)) for docid in docids)
        raw = ((docid, document.raw()) for docid, document in found if document is not None)
        return {docid: Stored(text) for docid, text in raw if text is not None}


def _opened(path: Path) -> Any:
    searcher = pyserini.lucene_searcher()
    try:
        return searcher(str(path))
    except Exception as problem:  # of Java
        raise IndexFolderError(f"{path} is no index that Lucene can open: {first_line(problem)}") from None

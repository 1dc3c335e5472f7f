"""One index that is served: searched in batches, and taken up anew when its folder changes."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli
from pyserini_jpq.api import Hit, Index
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.encode.queries import check_queries
from pyserini_jpq.errors import JPQError
from pyserini_jpq.index.folder import find_index
from pyserini_jpq.index.manifest import MANIFEST
from pyserini_jpq.search.engines.base import checked_vectors
from pyserini_jpq.search.hits import documents_of
from pyserini_jpq.serve.batches import Batches, Queries
from pyserini_jpq.serve.documents import Stored
from pyserini_jpq.serve.errors import MissingError, RequestError
from pyserini_jpq.serve.fusing import FUSED, fused
from pyserini_jpq.serve.lucene import Lucene
from pyserini_jpq.serve.options import IndexOptions

METHODS = ("jpq", "bm25", "rrf")
_REQUEST = 10
"""A request gets at most as many hits, with their texts, as this many queries of the most hits."""


@dataclass(frozen=True, slots=True)
class Found:
    """A hit as it is answered: docid, score, rank from 1, and the document where one is stored."""

    docid: str
    score: float
    rank: int
    document: Stored | None


@cache
def threads_of_torch() -> int:
    """Return how many threads torch had before workers shared them."""
    import torch

    return torch.get_num_threads()


class Served:
    """An index under a name.

    Parameters
    ----------
    name
        Name in requests.
    path
        Index folder, or the name of one under `indexes/`.
    options
        How it is opened, and the limits of a request.
    lucene
        Folder of a Lucene index of the same documents, for BM25 and for texts that the index does not keep.
    observe
        Called with the method and the number of queries of each search.
    cluster
        A Ray cluster that searches its shards.

    Raises
    ------
    JPQError
        If the index, its encoder or the Lucene index cannot be opened.
    """

    def __init__(
        self,
        name: str,
        path: str | Path,
        options: IndexOptions,
        lucene: Path | None = None,
        observe: Callable[[str, int], None] = lambda method, count: None,
        cluster: Cluster | None = None,
    ) -> None:
        self.name, self.options = name, options
        self._manifest = find_index(str(path)) / MANIFEST
        self._seen = self._state()  # before it is opened, so that no change is missed
        self._failed: tuple[int, ...] | None = None
        self._refreshing = threading.Lock()
        self.index = Index(
            path,
            device=options.device,
            backend=options.encoder_backend,
            nprobe=options.nprobe,
            cluster=cluster,
        )
        if self.takes_text:
            self.index.encode_queries(["a first query loads the encoder"])
        self._encoder_threads = threads_of_torch()
        self._lucene = None if lucene is None else Lucene(lucene)
        searches: dict[str, tuple[Any, int]] = {"jpq": (self._search, options.threads)}
        if lucene is not None:
            searches["bm25"] = (self._bm25, 1)
        limits = options.batch, options.waiting
        self._batches = {
            method: Batches(search, self._found, f"{name} {method}", *limits, partial(observe, method), threads)
            for method, (search, threads) in searches.items()
        }

    @property
    def takes_text(self) -> bool:
        """Whether the index names a query encoder; else only vectors can be searched for."""
        return self.index.manifest.query_encoder["card"] is not None

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that can be asked for."""
        return METHODS if self._lucene is not None else METHODS[:1]

    @property
    def waiting(self) -> int:
        """The number of queries that wait."""
        return sum(batches.waiting for batches in self._batches.values())

    def about(self) -> dict[str, Any]:
        """Return what a client may know of the index."""
        manifest = self.index.manifest
        encoder = str(manifest.query_encoder.get("name") or "")
        return {
            "name": self.name,
            "documents": manifest.documents,
            "dimension": manifest.dimension,
            "bytes_per_document": manifest.bytes_per_document,
            "encoder": os.path.basename(encoder) if encoder[:1] in ("/", "~", ".") else encoder,
            "trained": manifest.training is not None,
            "texts": self.index.texts is not None or self._lucene is not None,
            "methods": list(self.methods),
            "takes_text": self.takes_text,
        }

    def submit(self, queries: Queries, hits: int = 10, method: str = "jpq") -> "Future[list[list[Found]]]":
        """Queue queries of one request.

        Parameters
        ----------
        queries
            Texts, or vectors [B, D].
        hits
            Hits of each query.
        method
            `jpq`; with a Lucene index also `bm25`, and `rrf` for the reciprocal rank fusion of both.

        Returns
        -------
        Future
            The hits of each query, with their documents where these are stored.

        Raises
        ------
        RequestError
            If the request is wrong, or too many wait.
        """
        queries = self._checked(queries, hits, method)
        if method != "rrf":
            return self._batches[method].submit(queries, hits, shown=True)
        depth = max(hits, min(FUSED, self.options.max_hits))
        ours, theirs = (self._batches[part].submit(queries, depth) for part in ("jpq", "bm25"))
        return fused(ours, theirs, hits, self._found)

    def document(self, docid: str) -> Stored:
        """Return a document; raise MissingError if there is none."""
        if self.index.texts is None and self._lucene is None:
            raise MissingError(f"the index {self.name} keeps no texts")
        found = self._documents([Hit(docid, 0.0)]).get(docid)
        if found is None:
            raise MissingError(f"Document not found: {docid}")
        return found

    def refresh(self) -> bool:
        """Take up a change of the index's folder; return whether there was one.

        Requests are answered from the old version until the new one is open, and its encoder loaded.
        """
        with self._refreshing:
            now = self._state()
            if now is None or now == self._seen:
                return False
            try:
                self.index.reload()
            except Exception as problem:  # tried again at the next look: its encoder may not be there yet
                if now != self._failed:
                    cli.warn(f"{self.name} changed but cannot be opened; the version before is served on: {problem}")
                self._failed = now
                return False
            self._seen = now
            return True

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        for batches in self._batches.values():
            batches.close()
        if self._lucene is not None:
            self._lucene.close()

    def _search(self, queries: Queries, hits: int, threads: int) -> list[list[Hit]]:
        import torch

        # Of the encoder, in this worker; a request alone has them all, as in a search without the server.
        share = max(1, self._encoder_threads * threads // self.options.threads)
        if share != torch.get_num_threads():
            torch.set_num_threads(share)
        found: list[list[Hit]] = self.index.batch_search(queries, hits, threads=threads)
        return found

    def _bm25(self, queries: Queries, hits: int, threads: int) -> list[list[Hit]]:
        assert self._lucene is not None and not isinstance(queries, np.ndarray)
        return self._lucene.search(queries, hits)

    def _found(self, lists: Sequence[Sequence[Hit]]) -> list[list[Found]]:
        """Return the hits of each query with their documents, which are read together."""
        documents = self._documents([hit for hits in lists for hit in hits])
        return [
            [Found(hit.docid, hit.score, rank, documents.get(hit.docid)) for rank, hit in enumerate(hits, 1)]
            for hits in lists
        ]

    def _documents(self, hits: Sequence[Hit]) -> dict[str, Stored]:
        if self.index.texts is None and self._lucene is not None:
            return self._lucene.documents([hit.docid for hit in hits])
        found = documents_of(hits, self.index.texts)
        return {docid: Stored(document) for docid, document in found.items()}

    def _checked(self, queries: Queries, hits: int, method: str) -> Queries:
        if method not in self.methods:
            raise RequestError(f"the index {self.name} is searched by {', '.join(self.methods)}, not {method!r}")
        most = min(self.options.batch, self.options.waiting)
        if not 1 <= hits <= self.options.max_hits:
            raise RequestError(f"{hits} hits; give 1 to {self.options.max_hits}")
        if not 1 <= len(queries) <= most:
            raise RequestError(f"{len(queries)} queries at once; give 1 to {most}")
        if len(queries) * hits > _REQUEST * self.options.max_hits:
            raise RequestError(f"{len(queries)} queries of {hits} hits; ask for fewer at once")
        try:
            if isinstance(queries, np.ndarray):
                return self._checked_vectors(queries, method)
            check_queries(queries)
        except RequestError:
            raise
        except JPQError as problem:
            raise RequestError(str(problem)) from None
        if any(len(query) > self.options.max_query for query in queries):
            raise RequestError(f"a query has more than {self.options.max_query} characters")
        if method != "bm25" and not self.takes_text:
            raise RequestError(f"the index {self.name} has no query encoder; send vectors")
        return queries

    def _checked_vectors(self, vectors: Any, method: str) -> Queries:
        if method != "jpq":
            raise RequestError(f"{method} takes texts, no vectors")
        return checked_vectors(vectors, self.index.manifest.dimension)

    def _state(self) -> tuple[int, ...] | None:
        """Return what changes whenever the manifest does; None while there is none."""
        try:
            state = os.stat(self._manifest)
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns, state.st_size

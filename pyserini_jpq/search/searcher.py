"""Pyserini's `FaissSearcher` over the engines, with a checked index folder and the index's own encoder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.cluster import Cluster
from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.ids import check_ids
from pyserini_jpq.errors import EmbeddingsError, JPQError
from pyserini_jpq.index.docids import Lines
from pyserini_jpq.index.encoders import check_encoder, query_encoder_source
from pyserini_jpq.index.folder import IndexFolder, find_index
from pyserini_jpq.index.opening import opened
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.scan.threads import usable
from pyserini_jpq.search.adapter import FaissLike
from pyserini_jpq.search.encoder import JPQQueryEncoder, encode_queries
from pyserini_jpq.search.engines.base import SearchEngine, checked_vectors, whole
from pyserini_jpq.search.hits import hits_of, ranked
from pyserini_jpq.search.open import open_flat, open_index
from pyserini_jpq.search.threads import faiss_threads

_FaissSearcher: Any = pyserini.faiss_searcher_base()


class JPQFaissSearcher(_FaissSearcher):  # type: ignore[misc]
    """Searches a JPQ index; hits, `batch_search`, hybrid search and the rest are those of Pyserini's `FaissSearcher`.

    Threads can share a searcher. A pickled searcher reopens its folder, and refuses another index there.

    Parameters
    ----------
    index_dir
        An index folder, or the name of one under `indexes/`.
    query_encoder
        A `JPQQueryEncoder`, any other `QueryEncoder` of Pyserini, or the name or folder of an encoder; by default the
        one that the index names.
    prebuilt_index_name
        As in Pyserini: a prebuilt Lucene index that holds the documents' texts.
    normalize_distances
        As in Pyserini: map scores to the unit interval.
    faiss_device
        `cpu`; or `cuda:0` and so on, to search by torch, not faiss: any M, 8 and 4 bits.
    device
        Device of the query encoder, if it is loaded here.
    any_encoder
        Allow an encoder that the index was not trained with.
    verify, ivf, nprobe, cluster
        As in `Index`.
    rescore
        Number of hits of each query that are scored again by the vectors that the index keeps.

    Raises
    ------
    IndexFolderError
        If the index folder is missing, incomplete or damaged.
    EncoderError
        If the encoder cannot be loaded, or is not the index's own.
    """

    def __init__(
        self,
        index_dir: str | Path,
        query_encoder: Any = None,
        prebuilt_index_name: str | None = None,
        normalize_distances: bool = False,
        faiss_device: str = "cpu",
        *,
        device: str = "cpu",
        any_encoder: bool = False,
        verify: bool = False,
        ivf: int | None = None,
        nprobe: int | None = None,
        rescore: int | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        def read(folder: IndexFolder) -> tuple[IndexFolder, SearchEngine, Lines]:
            engine = open_index(folder, faiss_device, ivf, nprobe, rescore=rescore, cluster=cluster)
            return folder, engine, folder.open_docids()

        self.folder, self.engine, self._docids = opened(find_index(str(index_dir)), read, verify)
        if query_encoder is None:
            query_encoder = JPQQueryEncoder(query_encoder_source(self.folder), device)
        elif isinstance(query_encoder, str | Path):
            query_encoder = JPQQueryEncoder(query_encoder, device)
        if isinstance(query_encoder, JPQQueryEncoder) and not any_encoder:
            check_encoder(self.folder, query_encoder.encoder, query_encoder.name)
        self.ssearcher = None
        self._hit = pyserini.dense_search_result()
        # Pyserini's device stays the CPU: faiss copies an index to a GPU for few values of M only.
        super().__init__(str(self.folder.path), query_encoder, prebuilt_index_name, normalize_distances)

    def load_index(self, index_dir: str) -> tuple[FaissLike, Lines]:
        """Return the index and docids for Pyserini, whose constructor calls this."""
        return FaissLike(self.engine), self._docids

    def search(self, query: Any, k: int = 10, threads: int = 1, **options: Any) -> Any:
        """Search for a query text or vector; parameters and result are Pyserini's.

        Parameters
        ----------
        query
            A text, or a vector [D] or [1, D] float32.
        k
            Number of hits.
        threads
            Most threads to use, at most one per core.
        **options
            `remove_dups`, `return_vector`, as in Pyserini.

        Raises
        ------
        JPQError
            If the query is empty, or its vector has another shape or holds NaN or infinite values.
        """
        if query is None or isinstance(query, str | dict):
            with faiss_threads(threads):
                query = encode_queries(self.query_encoder, [query])
        vectors, k = np.atleast_2d(query), self._hits(k)
        if self._plain(options):
            return [hit for hits in self._found(vectors, k, threads) for hit in hits]
        vectors = checked_vectors(vectors, self.dimension)
        with faiss_threads(threads):
            return super().search(vectors, k, usable(threads), **options)

    def batch_search(self, queries: Any, q_ids: Sequence[str], k: int = 10, threads: int = 1, **options: Any) -> Any:
        """Search for several query texts or vectors; parameters and result are Pyserini's.

        Parameters
        ----------
        queries
            Texts, or vectors [B, D] float32.
        q_ids
            B query ids.
        k
            Number of hits per query.
        threads
            Most threads to use, at most one per core.
        **options
            `return_vector`, as in Pyserini.

        Raises
        ------
        JPQError
            As in `search`, or if the numbers of ids and queries differ.
        """
        if queries is None:
            raise JPQError("the queries are None; give texts or vectors")
        if len(queries) != len(q_ids):
            raise JPQError(f"{len(queries)} queries but {len(q_ids)} query ids; give one for each")
        if not len(queries):
            return {}
        queries, k = _vectors(self.query_encoder, queries, threads), self._hits(k)
        if self._plain(options):
            hits = self._found(queries, k, threads)
            return dict(zip(q_ids, hits, strict=True))
        vectors = checked_vectors(queries, self.dimension)
        with faiss_threads(threads):
            return super().batch_search(vectors, list(q_ids), k, usable(threads), **options)

    def ranked(self, queries: Any, k: int, threads: int = 1) -> Iterator[tuple[list[str], Floats]]:
        """Yield docids and scores, [n] float32, of each query: `batch_search` without an object for each hit."""
        vectors = _vectors(self.query_encoder, queries, threads)
        return ranked(self.engine, self.docids.at, vectors, self._hits(k), threads)

    def _plain(self, options: dict[str, Any]) -> bool:
        """Return whether only scores and docids are requested."""
        return not (any(options.values()) or self.normalize_distances)

    def _found(self, vectors: Floats, k: int, threads: int) -> Iterator[list[Any]]:
        """Yield the hits of each query; docids are looked up at once."""
        return hits_of(self.engine, self.docids.at, vectors, k, threads, self._hit)

    def _hits(self, k: int) -> int:
        k = whole(k, "k")
        if k < 1:
            raise JPQError(f"k is {k}; ask for at least one hit")
        return max(1, min(k, int(self.num_docs)))


class FlatSearcher:
    """Exhaustive search of uncompressed embeddings.

    Parameters
    ----------
    folder
        A folder of `python -m pyserini_jpq.encode`; it is read in blocks, once for each batch of queries.
    encoder
        A `QueryEncoder`.
    """

    def __init__(self, folder: str | Path, encoder: Any) -> None:
        self.engine = open_flat(Path(folder))
        self.query_encoder = encoder
        self.docids = list(self.engine.embeddings.docids())
        self._hit = pyserini.dense_search_result()

    def batch_search(
        self, queries: Any, q_ids: Sequence[str], k: int = 10, threads: int = 1, **_: Any
    ) -> dict[str, list[Any]]:
        """Search for several query texts or vectors; parameters as for `JPQFaissSearcher.batch_search`."""
        hits = (list(map(self._hit, *found)) for found in self.ranked(queries, k, threads))
        return dict(zip(q_ids, hits, strict=True))

    def ranked(self, queries: Any, k: int, threads: int = 1) -> Iterator[tuple[list[str], Floats]]:
        """Yield docids and scores of each query, as `JPQFaissSearcher.ranked`."""
        vectors = _vectors(self.query_encoder, queries, threads)
        return ranked(self.engine, self._docids_of, vectors, min(k, self.engine.documents), threads)

    def _docids_of(self, rows: Rows) -> list[str]:
        found = [self.docids[row] for row in rows]
        check_ids(found, str(self.engine.embeddings.folder), EmbeddingsError)
        return found


def _vectors(encoder: Any, queries: Any, threads: int) -> Floats:
    """Return query vectors, [B, D]; texts are encoded."""
    if isinstance(queries, np.ndarray):
        return queries
    with faiss_threads(threads):
        return encode_queries(encoder, list(queries))

"""The index in Python: open, search, change."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Collection as Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from pyserini_jpq.api.building import Building
from pyserini_jpq.api.sharing import Sharing
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.data.documents import Text, documents_of, several, spooled
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.options import EncodeOptions
from pyserini_jpq.encode.queries import QueryVectors
from pyserini_jpq.encode.run import encode
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import beside
from pyserini_jpq.index.change import Changed
from pyserini_jpq.index.docids import Lines
from pyserini_jpq.index.encoders import check_encoder, document_backend, document_encoder_source, query_encoder_source
from pyserini_jpq.index.folder import IndexFolder, find_index
from pyserini_jpq.index.manifest import Manifest
from pyserini_jpq.index.opening import opened
from pyserini_jpq.index.shards import open_at
from pyserini_jpq.index.shards_change import change
from pyserini_jpq.index.texts import Texts, texts_of
from pyserini_jpq.index.vectors import Vectors, vectors_of
from pyserini_jpq.locks import exclusive
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.engines.base import SearchEngine, whole
from pyserini_jpq.search.engines.rescoring import RescoringEngine, kept_vectors
from pyserini_jpq.search.hits import Hit, hits_of
from pyserini_jpq.search.open import open_index


@dataclass(frozen=True)
class _Opened:
    """One version of an index; a search keeps its version while the index changes."""

    folder: IndexFolder
    engine: SearchEngine
    docids: Lines
    texts: Texts | None
    vectors: Vectors | None
    queries: "_Queries"

    def rescoring(self, depth: int) -> SearchEngine:
        """Return an engine that scores the best hits again by the stored vectors."""
        return RescoringEngine(self.engine, self.vectors or kept_vectors(self.folder), depth)


class _Queries:
    """The query encoder of one version; loaded when it is first used, and shared by versions that name the same one."""

    def __init__(self, load: Callable[[], QueryVectors]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._loaded: QueryVectors | None = None

    @property
    def loaded(self) -> bool:
        return self._loaded is not None

    def get(self) -> QueryVectors:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded


class Index(Building, Sharing):
    """A JPQ index: memory-mapped codes, the query encoder, and the documents' texts if kept.

    It imports no Pyserini and starts no JVM; `JPQFaissSearcher` is the same index as a Pyserini searcher. Threads may
    share it.

    Parameters
    ----------
    path
        An index folder, or the name of one under `indexes/`.
    encoder
        The query encoder: a folder, the name of a card, or a Hugging Face name; by default the index's own. It is
        loaded by the first search for a text.
    any_encoder
        Allow an encoder that the index was not built or trained with.
    device
        Device of search and encoder: `cpu`, `cuda`, `cuda:1` or `auto`.
    backend
        Backend of the query encoder on a CPU: `torch`, `bfloat16`, `onnx`, `onnx-int8` or `openvino`.
    ivf
        Number of inverted lists: those beside the index, else made in memory now. None searches all documents.
    nprobe
        Number of lists to probe per query; by default an eighth. Without `ivf`, of the lists beside the index.
    verify
        Check the hashes of all files first.
    cluster
        A Ray cluster that searches the shards of the index, an actor some of them.

    Raises
    ------
    IndexFolderError
        If the folder is missing, incomplete or damaged.

    Examples
    --------
    >>> import pyserini_jpq as jpq
    >>> index = jpq.Index.from_texts(IDS, TEXTS, encoder=ENCODER, m=4, path=FOLDER / "notes")
    >>> hit = index.search(TEXTS[7], k=3)[0]
    >>> hit.docid == IDS[7], hit.text == TEXTS[7]
    (True, True)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: str | Path | None = None,
        any_encoder: bool = False,
        device: str = "cpu",
        backend: str = "torch",
        ivf: int | None = None,
        nprobe: int | None = None,
        verify: bool = False,
        cluster: Cluster | None = None,
    ) -> None:
        self.path = find_index(str(path))
        self._encoder, self._any_encoder, self._device, self._backend = encoder, any_encoder, device, backend
        self._ivf, self._nprobe, self._cluster = ivf, nprobe, cluster
        self._now = self._opened(verify)

    @property
    def manifest(self) -> Manifest:
        """The content of `jpq.json`: documents, dimensions, M, bits, encoders, training."""
        return self._now.folder.manifest

    @property
    def texts(self) -> Texts | None:
        """The documents by docid; None if the index keeps no texts."""
        return self._now.texts

    @property
    def docids(self) -> Sequence[str]:
        """The docids in row order, read from disk on access."""
        return self._now.docids

    def __len__(self) -> int:
        """Return the number of documents."""
        return self.manifest.documents

    def __repr__(self) -> str:
        """Return path and size."""
        manifest = self.manifest
        return f"<Index {self.path}: {manifest.documents} documents of {manifest.bytes_per_document} bytes>"

    def search(self, query: str | Floats, k: int = 10, *, threads: int = 1, rescore: int | None = None) -> list[Hit]:
        """Search for a text or a vector.

        Parameters
        ----------
        query
            A text, or a vector [D] float32.
        k
            Number of hits.
        threads
            Most threads to use.
        rescore
            Number of hits that are scored again by the vectors that the index keeps (`IndexOptions.keep_vectors`);
            those behind them keep their order.

        Returns
        -------
        list of Hit
            At most `k`, best first. Documents of equal scores stand in row order, in an index of less than 10,000
            documents in the order of faiss.

        Raises
        ------
        JPQError
            If the query is empty, its vector has another shape or NaN or infinite values, or no vectors are kept.
        """
        if isinstance(query, str):
            return self._search([query], k, threads, rescore)[0]
        vector = np.asarray(query)
        if vector.ndim != 1:
            raise JPQError(f"a query is a text or a vector [D], not of shape {vector.shape}; see `batch_search`")
        return self._search(vector[None], k, threads, rescore)[0]

    @overload
    def batch_search(
        self, queries: Mapping[str, str], k: int = 10, *, threads: int = 1, rescore: int | None = None
    ) -> dict[str, list[Hit]]: ...
    @overload
    def batch_search(
        self, queries: Sequence[str] | Floats, k: int = 10, *, threads: int = 1, rescore: int | None = None
    ) -> list[list[Hit]]: ...
    def batch_search(self, queries: Any, k: int = 10, *, threads: int = 1, rescore: int | None = None) -> Any:
        """Search for several texts or vectors at once, which is faster than one by one.

        Parameters
        ----------
        queries
            Texts, a mapping of query ids to texts, or vectors [B, D] float32.
        k, threads, rescore
            As in `search`.

        Returns
        -------
        list of list of Hit, or dict
            The hits of each query; by query id if a mapping was given.
        """
        if isinstance(queries, Mapping):
            return dict(zip(queries, self._search(list(queries.values()), k, threads, rescore), strict=True))
        return self._search(several(queries, "queries"), k, threads, rescore)

    def encode_queries(self, queries: Sequence[str]) -> Floats:
        """Encode texts as queries, to [B, D] float32."""
        return self._now.queries.get().encode(list(several(queries, "queries")))

    def add(
        self,
        ids: Iterable[Any],
        texts: Iterable[Text],
        *,
        replace: bool = False,
        encoder: str | Path | EncoderSource | None = None,
        encode_options: EncodeOptions | None = None,
    ) -> Changed:
        """Add documents: encode them with the index's document encoder, quantize with its initial centroids.

        Parameters
        ----------
        ids, texts
            As in `from_texts`.
        replace
            Replace documents that the index already holds, instead of raising.
        encoder
            Where the document encoder is, if it is not where the index names it.
        encode_options
            Options of the encoding; by default it is computed by what computed the other documents.

        Returns
        -------
        Changed
            Numbers of appended, replaced and of all documents.

        Raises
        ------
        JPQError
            If a document exists already or cannot be encoded; the index is not changed.
        """
        encoder = encoder or document_encoder_source(self._now.folder)
        options = encode_options or EncodeOptions(encoder_backend=document_backend(self._now.folder))
        folder = self.path.resolve()
        with (
            exclusive(folder),
            beside(folder) as temporary,
            spooled(documents_of(ids, texts), temporary / "added") as corpus,
        ):
            added = encode(corpus, encoder, temporary / "embeddings", options=options)
            return self._changed(added, (), replace, corpus if self.texts is not None else None)

    def delete(self, ids: Iterable[Any]) -> Changed:
        """Delete documents with their texts; none if one of them is unknown."""
        return self._changed(None, [str(docid) for docid in several(ids, "ids")], False, None)

    def reload(self) -> None:
        """Take up changes by other processes; running searches finish on their version.

        Where the index now names another query encoder, that one is loaded first if the old one was.
        """
        now, before = self._opened(verify=False), self._now
        if now.folder.manifest.query_encoder == before.folder.manifest.query_encoder:
            now = replace(now, queries=before.queries)
        elif before.queries.loaded:
            now.queries.get()
        self._now = now

    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments with which another process opens the same index."""
        return {**vars(self), "_now": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the index."""
        self.__dict__.update(state)
        self._now = self._opened(verify=False)

    def _opened(self, verify: bool) -> _Opened:
        def read(folder: IndexFolder) -> _Opened:
            engine = open_index(folder, self._device, self._ivf, self._nprobe, cluster=self._cluster)
            queries = _Queries(lambda: self._encoder_of(folder))
            return _Opened(folder, engine, folder.open_docids(), texts_of(folder), vectors_of(folder), queries)

        return opened(self.path, read, verify)

    def _changed(self, embeddings: Embeddings | None, delete: Sized[str], replace: bool, texts: Path | None) -> Changed:
        with exclusive(self.path):
            changed = change(open_at(self.path), embeddings, delete, replace, texts=texts)
        self.reload()
        return changed

    def _search(self, queries: Any, k: int, threads: int, rescore: int | None) -> list[list[Hit]]:
        now = self._now
        engine = now.engine if rescore is None else now.rescoring(rescore)
        if isinstance(queries, np.ndarray) and queries.dtype.kind in "fiu":
            vectors = queries
        else:
            vectors = now.queries.get().encode(list(queries))

        def hit(docid: str, score: Any) -> Hit:
            return Hit(docid, float(score), now.texts)

        k = min(whole(k, "k"), engine.documents)
        return list(hits_of(engine, now.docids.at, vectors, k, threads, hit))

    def _encoder_of(self, folder: IndexFolder) -> QueryVectors:
        """Load the query encoder of a version of the index."""
        source = query_encoder_source(folder) if self._encoder is None else self._encoder
        queries = QueryVectors(source, self._device, backend=self._backend)
        if not self._any_encoder:
            check_encoder(folder, queries.encoder, queries.name)
        return queries

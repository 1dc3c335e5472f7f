"""The searcher: Pyserini's own, with a checked index folder and the encoder that the index names."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq import cli
from pyserini_jpq.compat import pyserini
from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.errors import JPQError
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.encoders import check_encoder, query_encoder_source
from pyserini_jpq.index.folder import DOCID, IndexFolder, find_index
from pyserini_jpq.index.ivf import build_ivf, check_lists, check_nprobe, default_nprobe, lists_in, set_nprobe
from pyserini_jpq.index.ivf_file import read_ivf
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.encoder import JPQQueryEncoder, encode_queries
from pyserini_jpq.search.engines.ivf import speed_up_lists
from pyserini_jpq.search.engines.scan import exhaustive
from pyserini_jpq.search.engines.torch import search_on

_FaissSearcher: Any = pyserini.faiss_searcher_base()


class JPQFaissSearcher(_FaissSearcher):  # type: ignore[misc]
    """Searches a JPQ index; hits, `batch_search`, hybrid search and the rest are those of Pyserini's `FaissSearcher`.

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
        As in Pyserini: scores mapped to the unit interval.
    faiss_device
        `cpu`, or `cuda:0` and so on, where torch searches, not faiss: any M, 8 and 4 bits.
    device
        Of the query encoder, where it is loaded here.
    any_encoder
        Use an encoder that the index was not trained with.
    verify
        Compare the hashes of all files of the index first.
    ivf
        Search inverted lists, so many: those that `python -m pyserini_jpq.index --ivf` left beside the index, else they
        are made in memory now. By default all documents are searched.
    nprobe
        How many of the lists a query looks at; an eighth by default. Without `ivf`, of the lists beside the index.

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
    ) -> None:
        if (ivf is not None or nprobe is not None) and faiss_device != "cpu":
            raise JPQError(
                f"inverted lists are searched on the CPU only, not on {faiss_device}; leave one of the two out"
            )
        self._ivf, self._nprobe = ivf, nprobe
        self._device = None if faiss_device == "cpu" else resolve_device(faiss_device)
        self.folder = IndexFolder(find_index(str(index_dir)), verify)
        if query_encoder is None:
            query_encoder = JPQQueryEncoder(query_encoder_source(self.folder), device)
        elif isinstance(query_encoder, str | Path):
            query_encoder = JPQQueryEncoder(query_encoder, device)
        if isinstance(query_encoder, JPQQueryEncoder) and not any_encoder:
            check_encoder(self.folder, query_encoder.encoder, query_encoder.name)
        self.ssearcher = None
        self._hit = pyserini.dense_search_result()
        # Pyserini's own way to a GPU is a copy of the index by faiss, which has it for few M only; see load_index.
        super().__init__(str(self.folder.path), query_encoder, prebuilt_index_name, normalize_distances)

    def load_index(self, index_dir: str) -> tuple[Any, Docids]:
        """Return the faiss index and the docids; Pyserini calls this on opening."""
        docids = Docids(self.folder.path / DOCID, self.folder.manifest.documents)
        index = self.folder.read(mapped=True)
        if self._device is not None:
            return search_on(index, index_dir, self._device), docids
        if self._ivf is not None or self._nprobe is not None:
            return self._by_lists(index), docids
        return exhaustive(index, index_dir, self.folder.blocks), docids

    def _by_lists(self, index: Any) -> Any:
        """Return the inverted lists of an index in its place."""
        command = f"python -m pyserini_jpq.index --index {self.folder.path} --ivf"
        kept = read_ivf(self.folder, index)
        if kept is None and self._ivf is None:
            raise JPQError(f"{self.folder.path} has no inverted lists; make them with `{command} LISTS`")
        lists = self._ivf or lists_in(kept)
        nprobe = default_nprobe(lists) if self._nprobe is None else self._nprobe
        check_nprobe(nprobe, lists)
        if nprobe == lists:  # faster than all lists; nor would a graph be sure to find them all
            return exhaustive(index, str(self.folder.path), self.folder.blocks)
        if kept is None or lists_in(kept) != lists:
            check_lists(lists, index.ntotal, self.folder.path)
            cli.say(f"sorting {index.ntotal} documents into {lists} lists; `{command} {lists}` keeps them")
            kept = build_ivf(index, self.folder.path, lists)
        set_nprobe(kept, nprobe)
        return speed_up_lists(kept, index, str(self.folder.path))

    def search(self, query: Any, k: int = 10, threads: int = 1, **options: Any) -> Any:
        """Search for a query text or vector; Pyserini's parameters and result.

        Parameters
        ----------
        query
            A text, or a vector [D] or [1, D] float32.
        k
            Hits wanted.
        threads
            Most threads to use.
        **options
            `remove_dups`, `return_vector`, as in Pyserini.

        Raises
        ------
        JPQError
            If the query is empty, or its vector has another shape or holds NaN or infinite values.
        """
        if isinstance(query, str):
            query = encode_queries(self.query_encoder, [query])
        elif isinstance(query, dict):
            query = self.query_encoder.encode(**query)
        vectors = self._checked(np.atleast_2d(query))
        if self._plain(options):
            return [hit for hits in self._found(vectors, self._hits(k), threads) for hit in hits]
        return super().search(vectors, self._hits(k), threads, **options)

    def batch_search(self, queries: Any, q_ids: Sequence[str], k: int = 10, threads: int = 1, **options: Any) -> Any:
        """Search for several query texts or vectors; Pyserini's parameters and result.

        Parameters
        ----------
        queries
            Texts, or vectors [B, D] float32.
        q_ids
            B query ids.
        k
            Hits wanted for each.
        threads
            Most threads to use.
        **options
            `return_vector`, as in Pyserini.

        Raises
        ------
        JPQError
            As in `search`, or if there are not as many ids as queries.
        """
        if len(queries) != len(q_ids):
            raise JPQError(f"{len(queries)} queries but {len(q_ids)} query ids; give one for each")
        if not len(queries):
            return {}
        if not isinstance(queries, np.ndarray):
            queries = encode_queries(self.query_encoder, list(queries))
        vectors = self._checked(queries)
        if self._plain(options):
            return dict(zip(q_ids, self._found(vectors, self._hits(k), threads), strict=True))
        return super().batch_search(vectors, list(q_ids), self._hits(k), threads, **options)

    def _plain(self, options: dict[str, Any]) -> bool:
        """Tell whether scores and docids are all that is asked for."""
        return not (any(options.values()) or self.normalize_distances)

    def _found(self, vectors: Floats, k: int, threads: int) -> Iterator[list[Any]]:
        """Yield the hits of each query as Pyserini does, with docids looked up at once."""
        import faiss

        faiss.omp_set_num_threads(threads)
        scores, rows = self.index.search(vectors, k)
        for of_query, best in zip(scores, rows, strict=True):
            there = best >= 0
            yield list(map(self._hit, self.docids.at(best[there]), of_query[there]))

    def _hits(self, k: int) -> int:
        if k < 1:
            raise JPQError(f"k is {k}; ask for at least one hit")
        return max(1, min(k, int(self.num_docs)))

    def _checked(self, vectors: Floats) -> Floats:
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise JPQError(f"query vectors have shape {vectors.shape}; the index has {self.dimension} dimensions")
        if not np.isfinite(vectors).all():
            raise JPQError("a query vector holds a value that is NaN or infinite")
        return vectors

"""Engines that look at a part of the documents: inverted lists and a graph."""

from collections.abc import Sequence
from typing import Any

from benchmarks.data import add_decoded, queries_for, vectors_of
from benchmarks.measure import Contender
from pyserini_jpq.index.ivf import build_ivf, check_nprobe, set_nprobe
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer
from pyserini_jpq.scan import available
from pyserini_jpq.search.adapter import FaissLike
from pyserini_jpq.search.engines.ivf import ListsEngine

_LINKS = 32
_ROW_BYTES = 8


def ivf(index: Any, bytes_per_document: int, lists: int, nprobes: Sequence[int]) -> list[Contender]:
    """Return engines over the same inverted lists, ours and faiss's, for each number of them searched.

    Parameters
    ----------
    index
        The index that is sorted into lists.
    bytes_per_document
        Of its codes.
    lists
        Number of lists.
    nprobes
        Lists that a query looks at.
    """
    whole = build_ivf(index, "the index", lists)
    searches = {"IVF by faiss": whole.search}
    if available():
        searches["IVF"] = FaissLike(ListsEngine(whole, index, "the index")).search  # as JPQFaissSearcher has them

    def engine(nprobe: int, search: Any, name: str) -> Contender:
        def with_nprobe(queries: Floats, k: int) -> tuple[Any, Any]:
            set_nprobe(whole, nprobe)
            scores, rows = search(queries, k)
            return scores, rows

        check_nprobe(nprobe, lists)
        return Contender(f"{name} {lists}/{nprobe}", with_nprobe, bytes_per_document + _ROW_BYTES)

    return [engine(nprobe, search, name) for nprobe in nprobes for name, search in searches.items()]


def hnsw_flat(quantizer: ProductQuantizer, codes: Codes) -> Contender:
    """Return faiss's HNSW graph over the decoded vectors."""
    import faiss

    index: Any = faiss.IndexHNSWFlat(vectors_of(quantizer, codes[:1]).shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    add_decoded(index, quantizer, codes)

    def search(queries: Floats, k: int) -> tuple[Any, Any]:
        index.hnsw.efSearch = max(2 * k, 64)
        scores, rows = index.search(queries_for(quantizer, queries), k)
        return scores, rows

    return Contender("HNSW flat", search, 4 * index.d + 4 * 2 * _LINKS)

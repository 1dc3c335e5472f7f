"""Graph baselines: hierarchical navigable small worlds, of faiss and of hnswlib (Malkov and Yashunin, TPAMI 2018)."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import Built, Rows, Settings
from pyserini_jpq.compare.baselines.faiss_index import FaissBuilt, check, filled, opq, set_clustering
from pyserini_jpq.quantizer import Floats

PARAMETER = "efSearch"
LINKS = 32
CONSTRUCTION = 200
_FILE = "index"


def hnsw(vectors: Floats, _: Settings) -> FaissBuilt:
    """Build faiss's graph over whole vectors."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CONSTRUCTION
    return filled(index, vectors, PARAMETER)


def hnsw_opq(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build faiss's graph over product codes under an OPQ rotation."""
    import faiss

    dimension, m = vectors.shape[1], settings.bytes_per_document
    check(vectors, m)
    rotation = opq(vectors, m, settings)
    make: Any = faiss.IndexHNSWPQ  # its types know one of its constructors only
    inner = make(dimension, m, LINKS, 8, faiss.METRIC_INNER_PRODUCT)
    inner.hnsw.efConstruction = CONSTRUCTION
    storage: Any = faiss.downcast_index(inner.storage)
    set_clustering(storage.pq.cp, settings.seed)
    return filled(faiss.IndexPreTransform(rotation, inner), vectors, PARAMETER, (rotation, inner))


class HnswlibBuilt(Built):
    """An index of hnswlib, searched by one thread.

    Parameters
    ----------
    index
        `hnswlib.Index` of inner products.
    """

    def __init__(self, index: Any) -> None:
        self.index = index
        self._effort = 1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says; hnswlib needs an effort of k at least, which it gets."""
        k = min(k, self.index.get_current_count())
        self.index.set_ef(max(self._effort, k))
        rows, distances = self.index.knn_query(queries, k=k, num_threads=1)
        return 1 - distances, rows.astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write hnswlib's file, and D, which it does not hold."""
        self.index.save_index(str(folder / _FILE))
        np.save(folder / "dimension.npy", self.index.dim)

    def set_effort(self, effort: int) -> None:
        """Set `ef`."""
        self._effort = effort


def build_hnswlib(vectors: Floats, settings: Settings) -> HnswlibBuilt:
    """Build hnswlib's graph over whole vectors, [N, D] float32."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=LINKS // 2, ef_construction=CONSTRUCTION, random_seed=settings.seed)
    # One thread: the graph depends on the order in which vectors come.
    index.add_items(vectors, num_threads=1)
    return HnswlibBuilt(index)


def load_hnswlib(folder: Path) -> HnswlibBuilt:
    """Open what `HnswlibBuilt.save` wrote."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=int(np.load(folder / "dimension.npy")))
    index.load_index(str(folder / _FILE))
    return HnswlibBuilt(index)

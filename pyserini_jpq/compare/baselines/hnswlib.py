"""The graph of hnswlib: a hierarchical navigable small world (Malkov and Yashunin, TPAMI 2018)."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import POWERS, WHOLE, Built, Engine, Rows, Settings, whole
from pyserini_jpq.compare.baselines.faiss import CONSTRUCTION, LINKS
from pyserini_jpq.quantizer import Floats

_NOTE = f"{WHOLE}; looks at as many nodes as hits are wanted at least"


class HnswlibBuilt(Built):
    """A graph, `hnswlib.Index` of inner products, searched by one thread."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self._nodes = 1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says; hnswlib needs to look at k nodes at least."""
        k = min(k, self.index.get_current_count())
        self.index.set_ef(max(self._nodes, k))
        rows, distances = self.index.knn_query(queries, k=k, num_threads=1)
        return 1 - distances, rows.astype(np.int64)

    def save(self, folder: Path) -> None:
        """Write hnswlib's file, and D, which it does not hold."""
        self.index.save_index(str(folder / "index"))
        np.save(folder / "dimension.npy", self.index.dim)

    def set_parameter(self, value: int) -> None:
        """Set `ef`."""
        self._nodes = value


def build(vectors: Floats, settings: Settings) -> HnswlibBuilt:
    """Build the graph of vectors, [N, D] float32."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=LINKS // 2, ef_construction=CONSTRUCTION, random_seed=settings.seed)
    # One thread: the graph depends on the order in which vectors come.
    index.add_items(vectors, num_threads=1)
    return HnswlibBuilt(index)


def load(folder: Path) -> HnswlibBuilt:
    """Open what `HnswlibBuilt.save` wrote."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=int(np.load(folder / "dimension.npy")))
    index.load_index(str(folder / "index"))
    return HnswlibBuilt(index)


ENGINES = (
    Engine("hnswlib", "HNSW (hnswlib)", "non-exhaustive", build, load, whole, _NOTE, POWERS, "hnswlib", "baselines"),
)

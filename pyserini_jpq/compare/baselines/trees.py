"""Spotify's annoy: a forest of random splits."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import Built, Rows, Settings
from pyserini_jpq.quantizer import Floats

TREES = 100
_FILE = "index"


class AnnoyBuilt(Built):
    """A forest of annoy.

    Parameters
    ----------
    forest
        `annoy.AnnoyIndex` of inner products, built or loaded.
    """

    def __init__(self, forest: Any) -> None:
        self.forest = forest
        self._effort = -1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says."""
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        for i, query in enumerate(queries):
            found, values = self.forest.get_nns_by_vector(query, k, self._effort, include_distances=True)
            rows[i, : len(found)], scores[i, : len(found)] = found, values
        return scores, rows

    def save(self, folder: Path) -> None:
        """Write annoy's file, and D, which it does not hold."""
        self.forest.save(str(folder / _FILE))
        np.save(folder / "dimension.npy", self.forest.f)

    def set_effort(self, effort: int) -> None:
        """Set `search_k`, the nodes that are looked at."""
        self._effort = effort


def build(vectors: Floats, settings: Settings) -> AnnoyBuilt:
    """Build a forest of vectors, [N, D] float32."""
    from annoy import AnnoyIndex

    forest = AnnoyIndex(vectors.shape[1], "dot")
    forest.set_seed(settings.seed)
    for row, vector in enumerate(vectors):
        forest.add_item(row, vector)
    forest.build(TREES, n_jobs=1)
    return AnnoyBuilt(forest)


def load(folder: Path) -> AnnoyBuilt:
    """Open what `AnnoyBuilt.save` wrote; the file is mapped into memory."""
    from annoy import AnnoyIndex

    forest = AnnoyIndex(int(np.load(folder / "dimension.npy")), "dot")
    forest.load(str(folder / _FILE))
    return AnnoyBuilt(forest)

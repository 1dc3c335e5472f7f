"""Spotify's annoy: a forest of random splits."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import POWERS, WHOLE, Built, Engine, Rows, Settings, one_by_one, whole
from pyserini_jpq.quantizer import Floats

TREES = 100


class AnnoyBuilt(Built):
    """A forest, `annoy.AnnoyIndex` of inner products."""

    def __init__(self, forest: Any) -> None:
        self.forest = forest
        self._nodes = -1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says."""
        find = self.forest.get_nns_by_vector
        return one_by_one(lambda query: find(query, k, self._nodes, include_distances=True), queries, k)

    def save(self, folder: Path) -> None:
        """Write annoy's file, and D, which it does not hold."""
        self.forest.save(str(folder / "index"))
        np.save(folder / "dimension.npy", self.forest.f)

    def set_parameter(self, value: int) -> None:
        """Set `search_k`, the number of nodes to visit."""
        self._nodes = value


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
    forest.load(str(folder / "index"))
    return AnnoyBuilt(forest)


_NODES = tuple(16 * power for power in POWERS)
ENGINES = (Engine("annoy", "Annoy", "non-exhaustive", build, load, whole, WHOLE, _NODES, "annoy", "baselines"),)

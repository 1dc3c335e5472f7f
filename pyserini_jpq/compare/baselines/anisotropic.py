"""Google's ScaNN: codes of 4 bits trained to keep inner products (Guo et al., ICML 2020)."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import Built, Rows, Settings
from pyserini_jpq.compare.baselines.faiss_index import opq
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.files import save_array
from pyserini_jpq.quantizer import Floats

THRESHOLD = 0.2
"""What ScaNN's own examples take for the weight of errors along a vector."""

_ROTATION = "rotation.npy"


class ScannBuilt(Built):
    """A searcher of ScaNN, behind a rotation where there is one.

    Parameters
    ----------
    searcher
        `ScannSearcher`.
    rotation
        [D, D] float32, or None.
    """

    def __init__(self, searcher: Any, rotation: Floats | None = None) -> None:
        self.searcher = searcher
        self._rotation = rotation
        self._effort = -1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says; -1 where ScaNN finds no more."""
        if self._rotation is not None:
            queries = queries @ self._rotation.T
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for i, query in enumerate(queries):
            found, values = self.searcher.search(query, final_num_neighbors=k, leaves_to_search=self._effort)
            rows[i, : len(found)], scores[i, : len(found)] = found, values
        return scores, rows

    def save(self, folder: Path) -> None:
        """Write ScaNN's files, and the rotation."""
        # ScaNN writes paths into its files; in a folder below, they are relative to it and can move.
        inner = folder / "scann"
        inner.mkdir()
        self.searcher.serialize(str(inner), relative_path=True)
        if self._rotation is not None:
            save_array(folder / _ROTATION, self._rotation)

    def set_effort(self, effort: int) -> None:
        """Set the leaves of the tree that are searched."""
        self._effort = effort


def blocks(dimension: int, bytes_per_document: int) -> int:
    """Return the dimensions of a code of 4 bits, two of which make a byte.

    Raises
    ------
    QuantizerError
        If that is no whole number.
    """
    if dimension % (2 * bytes_per_document):
        raise QuantizerError(f"ScaNN's {2 * bytes_per_document} codes of 4 bits do not divide {dimension} dimensions")
    return dimension // (2 * bytes_per_document)


def scann(vectors: Floats, settings: Settings) -> ScannBuilt:
    """Build codes of equal bytes, all of which are looked at."""
    return ScannBuilt(_hashed(vectors, settings).build())


def opq_scann(vectors: Floats, settings: Settings) -> ScannBuilt:
    """Build the same under an OPQ rotation."""
    import faiss

    dimension = vectors.shape[1]
    transform = opq(vectors, settings.bytes_per_document, settings)
    rotation = faiss.vector_to_array(transform.A).reshape(dimension, dimension).copy()
    return ScannBuilt(_hashed(np.ascontiguousarray(vectors @ rotation.T), settings).build(), rotation)


def scann_tree(vectors: Floats, _: Settings) -> ScannBuilt:
    """Build what ScaNN's guide advises for speed: a tree, codes of two dimensions, and whole vectors to score again."""
    leaves = max(1, round(len(vectors) ** 0.5))
    builder = _builder(vectors).tree(leaves, max(1, leaves // 10), training_sample_size=min(len(vectors), 250_000))
    return ScannBuilt(builder.score_ah(2, anisotropic_quantization_threshold=THRESHOLD).reorder(100).build())


def load(folder: Path) -> ScannBuilt:
    """Open what `ScannBuilt.save` wrote."""
    from scann.scann_ops.py import scann_ops_pybind

    rotation = np.load(folder / _ROTATION) if (folder / _ROTATION).is_file() else None
    return ScannBuilt(scann_ops_pybind.load_searcher(str(folder / "scann")), rotation)


def _hashed(vectors: Floats, settings: Settings) -> Any:
    size = blocks(vectors.shape[1], settings.bytes_per_document)
    return _builder(vectors).score_ah(size, anisotropic_quantization_threshold=THRESHOLD)


def _builder(vectors: Floats) -> Any:
    from scann.scann_ops.py import scann_ops_pybind

    return scann_ops_pybind.builder(vectors, 100, "dot_product")

"""Google's ScaNN: codes of 4 bits trained to keep inner products (Guo et al., ICML 2020)."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import (
    POWERS,
    WHOLE,
    Built,
    Engine,
    Rows,
    Settings,
    asked,
    one_by_one,
    whole,
)
from pyserini_jpq.compare.baselines.faiss import opq
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.files import save_array
from pyserini_jpq.quantizer import Floats

THRESHOLD = 0.2
"""Threshold of the anisotropic loss in ScaNN's own examples."""

_ROTATION = "rotation.npy"


class ScannBuilt(Built):
    """A `ScannSearcher`, behind a rotation, [D, D] float32, where there is one."""

    def __init__(self, searcher: Any, rotation: Floats | None = None) -> None:
        self.searcher = searcher
        self._rotation = rotation
        self._leaves = -1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says."""
        if self._rotation is not None:
            queries = queries @ self._rotation.T
        find = partial(self.searcher.search, final_num_neighbors=k, leaves_to_search=self._leaves)
        return one_by_one(find, queries, k)

    def save(self, folder: Path) -> None:
        """Write ScaNN's files, and the rotation."""
        # ScaNN writes paths into its files; in a folder below, they are relative to it and can move.
        inner = folder / "scann"
        inner.mkdir()
        self.searcher.serialize(str(inner), relative_path=True)
        if self._rotation is not None:
            save_array(folder / _ROTATION, self._rotation)

    def set_parameter(self, value: int) -> None:
        """Set the leaves of the tree that are searched."""
        self._leaves = value


def scann(vectors: Floats, settings: Settings) -> ScannBuilt:
    """Build codes of equal bytes; a search scores all of them."""
    return ScannBuilt(_hashed(vectors, settings))


def opq_scann(vectors: Floats, settings: Settings) -> ScannBuilt:
    """Build the same under an OPQ rotation."""
    import faiss

    dimension = vectors.shape[1]
    transform = opq(vectors, settings)
    rotation = faiss.vector_to_array(transform.A).reshape(dimension, dimension).copy()
    return ScannBuilt(_hashed(np.ascontiguousarray(vectors @ rotation.T), settings), rotation)


def scann_tree(vectors: Floats, _: Settings) -> ScannBuilt:
    """Build the index that ScaNN's guide advises for speed: a tree, codes of two dimensions, and vectors to rescore."""
    leaves = max(1, round(len(vectors) ** 0.5))
    builder = _builder(vectors).tree(leaves, max(1, leaves // 10), training_sample_size=min(len(vectors), 250_000))
    return ScannBuilt(builder.score_ah(2, anisotropic_quantization_threshold=THRESHOLD).reorder(100).build())


def load(folder: Path) -> ScannBuilt:
    """Open what `ScannBuilt.save` wrote."""
    from scann.scann_ops.py import scann_ops_pybind

    rotation = np.load(folder / _ROTATION) if (folder / _ROTATION).is_file() else None
    return ScannBuilt(scann_ops_pybind.load_searcher(str(folder / "scann")), rotation)


def _hashed(vectors: Floats, settings: Settings) -> Any:
    codes, dimension = 2 * settings.bytes_per_document, vectors.shape[1]
    if dimension % codes:
        raise QuantizerError(f"ScaNN's {codes} codes of 4 bits do not divide {dimension} dimensions")
    return _builder(vectors).score_ah(dimension // codes, anisotropic_quantization_threshold=THRESHOLD).build()


def _builder(vectors: Floats) -> Any:
    from scann.scann_ops.py import scann_ops_pybind

    return scann_ops_pybind.builder(vectors, 100, "dot_product")


_engine = partial(Engine, load=load, module="scann", extra="baselines")
_UNPACKED = "its file has one code of 4 bits a byte"
ENGINES = (
    _engine("scann", "ScaNN", "compressed", scann, code_bytes=asked, note=_UNPACKED),
    _engine("opq-scann", "OPQ+ScaNN", "compressed", opq_scann, code_bytes=asked, note=_UNPACKED),
    _engine(
        *("scann-tree", "ScaNN, tree", "non-exhaustive", scann_tree),
        code_bytes=whole,
        parameters=POWERS,
        note=f"{WHOLE} beside the codes",
    ),
)

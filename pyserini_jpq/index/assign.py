"""Code assignment: by faiss as `ProductQuantizer.assign` does, on all cores; of additive codes by beam search."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.faiss_format import set_centroids, unpack
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

if TYPE_CHECKING:
    from pyserini_jpq.index.additive import AdditiveAssigner

_DIRECT_BELOW = 16
"""Least width of a subspace for which faiss computes distances by matrix products."""


def assigner_of(quantizer: ProductQuantizer) -> "Assigner | AdditiveAssigner":
    """Return the assigner for a quantizer's codes."""
    if not quantizer.additive:
        return Assigner(quantizer)
    from pyserini_jpq.index.additive import AdditiveAssigner

    return AdditiveAssigner(quantizer)


class Assigner:
    """Assigns nearest centroids; the codes of a row do not depend on how rows are grouped into calls.

    So documents that are appended in several parts get the same codes as at once. Matrix products in float32 do not
    guarantee that: their order of summation may depend on the number of rows.
    """

    def __init__(self, quantizer: ProductQuantizer) -> None:
        import faiss

        self._quantizer = quantizer
        self._rotation = quantizer.rotation.T.astype(np.float64)
        self._index: Any = faiss.IndexPQ(quantizer.dimension, quantizer.m, quantizer.bits)
        set_centroids(self._index, quantizer.centroids)
        self._index.is_trained = True

    def assign(self, vectors: Floats) -> Codes:
        """Return the codes of vectors, [n, D] float32 to [n, M] uint8."""
        rotated = (vectors.astype(np.float64) @ self._rotation).astype(np.float32)
        if self._quantizer.dimension // self._quantizer.m < _DIRECT_BELOW:
            return unpack(self._index.sa_encode(rotated), self._quantizer.m, self._quantizer.bits)
        return self._assign_wide(rotated)

    def _assign_wide(self, rotated: Floats) -> Codes:
        import faiss

        parts = rotated.reshape(len(rotated), self._quantizer.m, -1)
        codes = np.empty(parts.shape[:2], dtype=np.uint8)
        with _without_matrix_products():
            for j, centroids in enumerate(self._quantizer.centroids):
                _, nearest = faiss.knn(np.ascontiguousarray(parts[:, j]), centroids, 1)
                codes[:, j] = nearest[:, 0]
        return codes


def assigning_quantizer(index: IndexFolder, scoring: ProductQuantizer) -> ProductQuantizer:
    """Return the quantizer that assigns an index's codes: the scoring one, but with the initial centroids.

    Where documents are mapped, the map stands in place of the rotation.

    Raises
    ------
    IndexFolderError
        If the initial centroids are unknown.
    """
    if not index.manifest.initial_centroids_known:
        raise IndexFolderError(
            f"{index.path} was imported without the centroids that its codes were assigned with, so other documents "
            "cannot get any; import it again with --initial-index (docs/convert.md)"
        )
    own = index.document_map()
    rotation = scoring.rotation if own is None else own
    return dataclasses.replace(scoring, rotation=rotation, centroids=index.initial_centroids(), biases=None)


@contextlib.contextmanager
def _without_matrix_products() -> Iterator[None]:
    """Let faiss compute distances one by one in a block."""
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = np.iinfo(np.int32).max
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before

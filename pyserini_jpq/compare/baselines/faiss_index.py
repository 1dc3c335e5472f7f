"""Baselines of faiss: an index, its file, and the one parameter that says how hard it looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import OPQ_SAMPLE, Built, Rows, Settings
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.files import save_array
from pyserini_jpq.quantizer import Floats

_FILE = "index"


class FaissBuilt(Built):
    """A faiss index.

    Parameters
    ----------
    index
        Any; where smaller values are better, scores are their negatives.
    parameter
        What `set_effort` sets, as faiss's `ParameterSpace` names it.
    keep
        What has to live as long as the index.
    """

    def __init__(self, index: Any, parameter: str = "", keep: tuple[Any, ...] = ()) -> None:
        import faiss

        self.index = index
        self._parameter = parameter
        self._keep = keep
        self._sign = 1 if index.metric_type == faiss.METRIC_INNER_PRODUCT else -1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says."""
        scores, rows = self.index.search(queries, k)
        return (scores if self._sign > 0 else -scores), rows

    def save(self, folder: Path) -> None:
        """Write faiss's file."""
        import faiss

        faiss.write_index(self.index, str(folder / _FILE))

    def set_effort(self, effort: int) -> None:
        """Set the parameter."""
        import faiss

        faiss.ParameterSpace().set_index_parameter(self.index, self._parameter, effort)


def load(folder: Path, parameter: str = "") -> FaissBuilt:
    """Open what `FaissBuilt.save` wrote."""
    import faiss

    return FaissBuilt(faiss.read_index(str(folder / _FILE)), parameter)


def filled(index: Any, vectors: Floats, parameter: str = "", keep: tuple[Any, ...] = ()) -> FaissBuilt:
    """Train an index and add all vectors, [N, D] float32."""
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return FaissBuilt(index, parameter, keep)


def set_clustering(parameters: Any, seed: int) -> None:
    """Give a k-means its seed, and keep it from warning of each subspace where documents are few."""
    parameters.seed = seed
    parameters.min_points_per_centroid = 1


def opq(vectors: Floats, m: int, settings: Settings) -> Any:
    """Return a trained OPQ rotation of faiss, from the cache where it is there.

    Parameters
    ----------
    vectors
        [N, D] float32; a random sample of `OPQ_SAMPLE` trains it.
    m
        Number of subspaces.
    settings
        Seed and cache.

    Raises
    ------
    QuantizerError
        If M does not divide D, or documents are fewer than centroids.
    """
    import faiss

    check(vectors, m)
    transform = faiss.OPQMatrix(vectors.shape[1], m)
    file = settings.cache / f"opq-{m}.npy" if settings.cache else None
    if file is not None and file.is_file():
        faiss.copy_array_to_vector(np.load(file).ravel(), transform.A)
        transform.is_trained = transform.is_orthonormal = True
        return transform
    chosen = np.random.default_rng(settings.seed).permutation(len(vectors))[:OPQ_SAMPLE]
    quantizer = faiss.ProductQuantizer(vectors.shape[1], m, 8)
    set_clustering(quantizer.cp, settings.seed)
    with _borrowed(transform, quantizer):
        transform.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
    if file is not None:
        partial = file.with_name(f".{file.name}.partial")
        save_array(partial, faiss.vector_to_array(transform.A).reshape(vectors.shape[1], -1))
        partial.replace(file)
    return transform


def check(vectors: Floats, m: int) -> None:
    """Raise QuantizerError if M codes of a byte cannot be trained on vectors."""
    documents, dimension = vectors.shape
    if dimension % m:
        raise QuantizerError(f"{m} bytes do not divide the {dimension} dimensions")
    if documents < 256:
        raise QuantizerError(f"{documents} documents are fewer than the 256 centroids of a byte")


@contextmanager
def _borrowed(transform: Any, quantizer: Any) -> Iterator[None]:
    """Lend a quantizer to an OPQMatrix, which would free it with itself."""
    transform.pq = quantizer
    try:
        yield
    finally:
        transform.pq = None

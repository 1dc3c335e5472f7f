"""Differentiable product quantization (Chen et al., ICML 2020), with reconstruction and supervision."""

from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import Engine, Settings, asked
from pyserini_jpq.compare.baselines.faiss import FaissBuilt, described, load, opq
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.quantizer import Floats


def build(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build PQ whose centroids and codes were trained by a ranking loss and by reconstruction, starting from OPQ.

    The vectors of queries and documents stay as they are: what is learned lies between them.

    Raises
    ------
    QuantizerError
        If there is nothing to learn from.
    """
    import faiss

    from pyserini_jpq.compare.baselines.dpq_training import train

    if settings.supervision is None:
        raise QuantizerError("DPQ learns from queries with relevant documents, and there are none")
    dimension, m = vectors.shape[1], settings.bytes_per_document
    rotation = opq(vectors, settings)
    inner: Any = described(vectors, f"PQ{m}x8np", settings)
    inner.train(rotation.apply(vectors))
    centroids = faiss.vector_to_array(inner.pq.centroids).reshape(m, 256, dimension // m)
    start = faiss.vector_to_array(rotation.A).reshape(dimension, dimension)
    coded, trained = train(vectors, start, centroids, settings.supervision, settings.seed)
    faiss.copy_array_to_vector(trained.ravel(), inner.pq.centroids)
    # Documents are coded after the trained map, queries and centroids lie in the space of the rotation.
    inner.add(np.ascontiguousarray(vectors @ coded.T))
    return FaissBuilt(faiss.IndexPreTransform(rotation, inner))


_NOTE = "trained by ranking and reconstruction from OPQ on; the query encoder as it is"
ENGINES = (Engine("dpq", "DPQ", "compressed", build, load, asked, _NOTE, supervised=True),)

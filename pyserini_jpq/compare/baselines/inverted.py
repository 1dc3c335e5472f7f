"""Inverted baselines of faiss: only the lists near the query are looked at."""

import math
from typing import Any

from pyserini_jpq.compare.baselines.base import Settings
from pyserini_jpq.compare.baselines.faiss_index import FaissBuilt, check, filled, opq, set_clustering
from pyserini_jpq.quantizer import Floats

PARAMETER = "nprobe"


def lists(documents: int) -> int:
    """Return the number of lists: 4 sqrt(N), the lower end of what faiss advises, as a power of two."""
    return 1 << max(0, math.isqrt(16 * documents).bit_length() - 1)


def ivf_opq(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build lists of product codes under an OPQ rotation (Jégou et al., TPAMI 2011; Ge et al., CVPR 2013)."""
    import faiss

    dimension, m = vectors.shape[1], settings.bytes_per_document
    check(vectors, m)
    rotation = opq(vectors, m, settings)
    coarse = faiss.IndexFlatIP(dimension)
    inner = faiss.IndexIVFPQ(coarse, dimension, lists(len(vectors)), m, 8, faiss.METRIC_INNER_PRODUCT)
    set_clustering(inner.cp, settings.seed)
    set_clustering(inner.pq.cp, settings.seed)
    return _filled(faiss.IndexPreTransform(rotation, inner), vectors, (rotation, coarse, inner))


def imi(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build an inverted multi-index over whole vectors (Babenko and Lempitsky, CVPR 2012)."""
    import faiss

    dimension = vectors.shape[1]
    bits = max(1, (lists(len(vectors)).bit_length() - 1) // 2)
    coarse: Any = faiss.MultiIndexQuantizer(dimension, 2, bits)
    set_clustering(coarse.pq.cp, settings.seed)
    inner: Any = faiss.IndexIVFFlat(coarse, dimension, 1 << (2 * bits), faiss.METRIC_INNER_PRODUCT)
    inner.quantizer_trains_alone = 1  # by k-means on the halves
    return _filled(inner, vectors, (coarse,))


def _filled(index: Any, vectors: Floats, keep: tuple[Any, ...]) -> FaissBuilt:
    return filled(index, vectors, PARAMETER, keep)

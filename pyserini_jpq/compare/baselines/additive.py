"""Additive codes of faiss, of as many bytes as codebooks: a document is a sum of one centroid of each."""

from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import Engine, Settings, asked
from pyserini_jpq.compare.baselines.faiss import FaissBuilt, check_documents, load, seed_clustering
from pyserini_jpq.quantizer import Floats

LSQ_ITERATIONS = 25
"""Alternations of codes and codebooks; faiss's own number."""
_NOTE = "codebooks of half of the documents"


def residual(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build residual quantization (Chen et al., Sensors 2010) with faiss's beam of 5."""
    index = _index(vectors, settings, "RQ")
    seed_clustering(index.rq.cp, settings.seed)
    return _filled(index, vectors, settings)


def local_search(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build local search quantization (LSQ++; Martinez et al., ECCV 2018)."""
    index = _index(vectors, settings, "LSQ")
    index.lsq.random_seed, index.lsq.train_iters = settings.seed, LSQ_ITERATIONS
    return _filled(index, vectors, settings)


def _index(vectors: Floats, settings: Settings, name: str) -> Any:
    import faiss

    # Nnone: inner products need no norms.
    description = f"{name}{settings.bytes_per_document}x8_Nnone"
    return faiss.index_factory(vectors.shape[1], description, faiss.METRIC_INNER_PRODUCT)


def _filled(index: Any, vectors: Floats, settings: Settings) -> FaissBuilt:
    """Train an index on half of the vectors, as our additive indexes are, and add all."""
    half = np.random.default_rng(settings.seed).permutation(len(vectors))[: (len(vectors) + 1) // 2]
    check_documents(len(half))
    index.train(vectors[np.sort(half)])
    index.add(vectors)
    return FaissBuilt(index)


ENGINES = (
    Engine("rq", "RQ", "compressed", residual, load, asked, _NOTE),
    Engine("lsq", "LSQ", "compressed", local_search, load, asked, _NOTE),
)

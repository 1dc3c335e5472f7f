"""Compressed baselines of faiss: every document is looked at, in fewer bytes than its vector."""

from typing import Any

from pyserini_jpq.compare.baselines.base import Settings
from pyserini_jpq.compare.baselines.faiss_index import FaissBuilt, check, filled, opq, set_clustering
from pyserini_jpq.quantizer import Floats

RABITQ_FACTORS = 8
"""Bytes that faiss's RaBitQ keeps beside the bits of a document."""


def flat(vectors: Floats, _: Settings) -> FaissBuilt:
    """Build the uncompressed index that the others are compared with."""
    import faiss

    return filled(faiss.IndexFlatIP(vectors.shape[1]), vectors)


def pq(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build product quantization (Jégou et al., TPAMI 2011)."""
    return filled(product_quantizer(vectors, settings), vectors)


def opq_pq(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build optimized product quantization (Ge et al., CVPR 2013): a trained rotation, then PQ."""
    import faiss

    rotation, inner = opq(vectors, settings.bytes_per_document, settings), product_quantizer(vectors, settings)
    return filled(faiss.IndexPreTransform(rotation, inner), vectors, keep=(rotation, inner))


def lsh(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build the signs of random projections, compared by Hamming distance (Charikar, STOC 2002)."""
    import faiss

    return filled(faiss.IndexLSH(vectors.shape[1], 8 * settings.bytes_per_document, True, False), vectors)


def itq_bits(dimension: int, bytes_per_document: int) -> int:
    """Return how many bits ITQ makes: it rotates principal components, of which there are at most D."""
    return min(8 * bytes_per_document, dimension // 8 * 8)


def itq_lsh(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build the signs of principal components under a trained rotation (Gong and Lazebnik, CVPR 2011)."""
    import faiss

    dimension = vectors.shape[1]
    bits = itq_bits(dimension, settings.bytes_per_document)
    rotation = faiss.ITQTransform(dimension, bits, True)
    rotation.itq.seed = settings.seed
    inner = faiss.IndexLSH(bits, bits, False, False)
    return filled(faiss.IndexPreTransform(rotation, inner), vectors, keep=(rotation, inner))


def scalar_int8(vectors: Floats, _: Settings) -> FaissBuilt:
    """Build one byte a dimension, each over its own range."""
    import faiss

    kind = faiss.ScalarQuantizer.QT_8bit
    return filled(faiss.IndexScalarQuantizer(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT), vectors)


def rabitq_bytes(dimension: int, bytes_per_document: int) -> int:
    """Return the bytes of a RaBitQ code: the ones asked for, or fewer where D bits need no more."""
    return min(bytes_per_document, (dimension + 7) // 8 + RABITQ_FACTORS)


def rabitq(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build RaBitQ (Gao and Long, SIGMOD 2024) of equal bytes: on as many principal components as bits are left.

    Raises
    ------
    QuantizerError
        If no byte is left for bits.
    """
    import faiss

    from pyserini_jpq.errors import QuantizerError

    dimension = vectors.shape[1]
    bits = 8 * (settings.bytes_per_document - RABITQ_FACTORS)
    if bits < 8:
        raise QuantizerError(f"RaBitQ keeps {RABITQ_FACTORS} bytes beside its bits; ask for more than that")
    bits = min(bits, dimension)
    # With a random rotation at its end: RaBitQ supposes that no dimension counts more than another.
    transform = faiss.PCAMatrix(dimension, bits, 0, True)
    inner = faiss.IndexRaBitQ(bits, faiss.METRIC_INNER_PRODUCT)
    return filled(faiss.IndexPreTransform(transform, inner), vectors, keep=(transform, inner))


def rabitq_whole(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build RaBitQ on all dimensions, after a random rotation."""
    import faiss

    dimension = vectors.shape[1]
    transform = faiss.RandomRotationMatrix(dimension, dimension)
    transform.init(settings.seed)
    inner = faiss.IndexRaBitQ(dimension, faiss.METRIC_INNER_PRODUCT)
    return filled(faiss.IndexPreTransform(transform, inner), vectors, keep=(transform, inner))


def product_quantizer(vectors: Floats, settings: Settings) -> Any:
    """Return faiss's untrained PQ with a byte a subspace.

    Raises
    ------
    QuantizerError
        If M does not divide D, or documents are fewer than centroids.
    """
    import faiss

    m = settings.bytes_per_document
    check(vectors, m)
    inner = faiss.IndexPQ(vectors.shape[1], m, 8, faiss.METRIC_INNER_PRODUCT)
    set_clustering(inner.pq.cp, settings.seed)
    return inner

"""Baselines of faiss, most of them by its own descriptions of indexes."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import (
    POWERS,
    UNEQUAL,
    WHOLE,
    Built,
    Engine,
    Rows,
    Settings,
    asked,
    whole,
)
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.files import beside, save_array
from pyserini_jpq.quantizer import Floats

OPQ_SAMPLE = 16384
"""Vectors to train an OPQ rotation with; the centroids after it are trained with faiss's own sample."""

RABITQ_FACTORS = 8
"""Bytes that faiss's RaBitQ keeps beside the bits of a document."""

LINKS, CONSTRUCTION = 32, 200
"""Links of a node in a graph, and `efConstruction`."""

NPROBE, EF_SEARCH = "nprobe", "efSearch"


class FaissBuilt(Built):
    """A faiss index.

    Parameters
    ----------
    index
        Any faiss index; distances become scores by their negatives.
    parameter
        Name of the search parameter in faiss's `ParameterSpace`.
    """

    def __init__(self, index: Any, parameter: str = "") -> None:
        import faiss

        self.index = index
        self._parameter = parameter
        self._sign = 1 if index.metric_type == faiss.METRIC_INNER_PRODUCT else -1

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says."""
        scores, rows = self.index.search(queries, k)
        return (scores if self._sign > 0 else -scores), rows

    def save(self, folder: Path) -> None:
        """Write faiss's file."""
        import faiss

        faiss.write_index(self.index, str(folder / "index"))

    def set_parameter(self, value: int) -> None:
        """Set faiss's parameter."""
        import faiss

        faiss.ParameterSpace().set_index_parameter(self.index, self._parameter, value)


def load(folder: Path, parameter: str = "") -> FaissBuilt:
    """Open what `FaissBuilt.save` wrote."""
    import faiss

    return FaissBuilt(faiss.read_index(str(folder / "index")), parameter)


def described(vectors: Floats, description: str, settings: Settings) -> Any:
    """Return an untrained index of inner products by faiss's description, with the seed in all its k-means.

    A rotation `OPQ` at its front is the one of `opq`.
    """
    import faiss

    if description.startswith("OPQ"):
        inner = described(vectors, description.partition(",")[2], settings)
        return faiss.IndexPreTransform(opq(vectors, settings), inner)
    index: Any = faiss.index_factory(vectors.shape[1], description, faiss.METRIC_INNER_PRODUCT)
    parts: list[Any] = [index, faiss.downcast_index(index.storage) if hasattr(index, "storage") else None]
    for part in parts:
        for owner in filter(None, (part, getattr(part, "pq", None))):
            if hasattr(owner, "cp"):
                seed_clustering(owner.cp, settings.seed)
    return index


def filled(index: Any, vectors: Floats, parameter: str = "") -> FaissBuilt:
    """Train an index and add all vectors, [N, D] float32."""
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return FaissBuilt(index, parameter)


def seed_clustering(parameters: Any, seed: int) -> None:
    """Set the seed of a k-means, and silence its warnings for small collections."""
    parameters.seed = seed
    parameters.min_points_per_centroid = 1


def opq(vectors: Floats, settings: Settings) -> Any:
    """Return a trained OPQ rotation of faiss (Ge et al., CVPR 2013), from the cache where it is there.

    Parameters
    ----------
    vectors
        [N, D] float32; a random sample of `OPQ_SAMPLE` trains it.
    settings
        Bytes per document, which are its subspaces; seed and cache.

    Raises
    ------
    QuantizerError
        If M does not divide D, or documents are fewer than centroids.
    """
    import faiss

    m = settings.bytes_per_document
    check(vectors, m)
    transform: Any = faiss.OPQMatrix(vectors.shape[1], m)
    file = settings.cache / f"opq-{m}.npy" if settings.cache else None
    if file is not None and file.is_file():
        faiss.copy_array_to_vector(np.load(file).ravel(), transform.A)
        transform.is_trained = transform.is_orthonormal = True
        return transform
    chosen = np.random.default_rng(settings.seed).permutation(len(vectors))[:OPQ_SAMPLE]
    quantizer = faiss.ProductQuantizer(vectors.shape[1], m, 8)
    seed_clustering(quantizer.cp, settings.seed)
    transform.pq = quantizer
    try:
        transform.train(np.ascontiguousarray(vectors[np.sort(chosen)]))
    finally:
        transform.pq = None  # it would be freed twice
    if file is not None:
        with beside(file) as partial_file:
            save_array(partial_file, faiss.vector_to_array(transform.A).reshape(vectors.shape[1], -1))
            partial_file.replace(file)
    return transform


def check(vectors: Floats, m: int) -> None:
    """Raise QuantizerError if M codes of a byte cannot be trained on vectors."""
    documents, dimension = vectors.shape
    if dimension % m:
        raise QuantizerError(f"{m} bytes do not divide the {dimension} dimensions")
    check_documents(documents)


def check_documents(documents: int) -> None:
    """Raise QuantizerError if documents are too few for the centroids of a byte."""
    if documents < 256:
        raise QuantizerError(f"{documents} documents are fewer than the 256 centroids of a byte")


def lists(documents: int) -> int:
    """Return the number of lists: 4 sqrt(N), the lower end of what faiss advises, as a power of two."""
    return 1 << max(0, math.isqrt(16 * documents).bit_length() - 1)


def build(vectors: Floats, settings: Settings, description: str, parameter: str = "") -> FaissBuilt:
    """Build the index of a description, in which `{m}` is the bytes per document, and `{lists}` a number of lists."""
    import faiss

    m = settings.bytes_per_document
    if "{m}" in description:
        check(vectors, m)
    index = described(vectors, description.format(m=m, lists=lists(len(vectors))), settings)
    inner = faiss.downcast_index(index.index) if description.startswith("OPQ") else index
    if hasattr(inner, "hnsw"):
        inner.hnsw.efConstruction = CONSTRUCTION
    return filled(index, vectors, parameter)


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

    bits = itq_bits(vectors.shape[1], settings.bytes_per_document)
    index: Any = faiss.index_factory(vectors.shape[1], f"ITQ{bits},LSH")
    rotation: Any = faiss.downcast_VectorTransform(index.chain.at(0))
    rotation.itq.seed = settings.seed
    return filled(index, vectors)


def rabitq(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build RaBitQ (Gao and Long, SIGMOD 2024) of equal bytes: on as many principal components as bits are left.

    Raises
    ------
    QuantizerError
        If no byte is left for bits.
    """
    bits = min(8 * (settings.bytes_per_document - RABITQ_FACTORS), vectors.shape[1])
    if bits < 8:
        raise QuantizerError(f"RaBitQ keeps {RABITQ_FACTORS} bytes beside its bits; ask for more than that")
    # With a random rotation at its end: RaBitQ supposes that no dimension counts more than another.
    return build(vectors, settings, f"PCAR{bits},RaBitQ")


def rabitq_whole(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build RaBitQ on all dimensions, after a random rotation."""
    import faiss

    dimension = vectors.shape[1]
    rotation = faiss.RandomRotationMatrix(dimension, dimension)
    rotation.init(settings.seed)
    return filled(faiss.IndexPreTransform(rotation, described(vectors, "RaBitQ", settings)), vectors)


def turboquant_bits(dimension: int, bytes_per_document: int) -> tuple[int, int]:
    """Return how many principal components TurboQuant keeps, and the bits of each: 1 to 4."""
    each = min(-(-8 * bytes_per_document // dimension), 4)
    return min(8 * bytes_per_document // each, dimension), each


def turboquant(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build TurboQuant (Zandieh et al., 2025) for least squared error, of equal bytes.

    Principal components under a random rotation, as many as have room with the fewest bits that fill the bytes.

    Raises
    ------
    QuantizerError
        If this faiss has no TurboQuant.
    """
    kept, each = turboquant_bits(vectors.shape[1], settings.bytes_per_document)
    try:
        return build(vectors, settings, f"PCAR{kept},SQtqmse{each}")
    except RuntimeError as error:
        if "could not parse" not in str(error):
            raise
        raise QuantizerError("this version of faiss has no TurboQuant; faiss-cpu 1.15 has it") from None


def imi(vectors: Floats, settings: Settings) -> FaissBuilt:
    """Build an inverted multi-index over whole vectors (Babenko and Lempitsky, CVPR 2012)."""
    import faiss

    dimension = vectors.shape[1]
    bits = max(1, (lists(len(vectors)).bit_length() - 1) // 2)
    coarse: Any = faiss.MultiIndexQuantizer(dimension, 2, bits)
    seed_clustering(coarse.pq.cp, settings.seed)
    index: Any = faiss.IndexIVFFlat(coarse, dimension, 1 << (2 * bits), faiss.METRIC_INNER_PRODUCT)
    index.quantizer_trains_alone = 1  # by k-means on the halves
    return filled(index, vectors, NPROBE)


def _exhaustive(name: str, title: str, make: Any, size: Any, note: str = "") -> Engine:
    how = partial(build, description=make) if isinstance(make, str) else make
    return Engine(name, title, "exhaustive" if size is whole else "compressed", how, load, size, note)


def _partial(name: str, title: str, make: Any, parameter: str, size: Any, note: str) -> Engine:
    how = partial(build, description=make, parameter=parameter) if isinstance(make, str) else make
    return Engine(name, title, "non-exhaustive", how, partial(load, parameter=parameter), size, note, POWERS)


ENGINES = (
    _exhaustive("flat", "Flat", "Flat", whole),
    # Jégou et al., TPAMI 2011; np: no polysemous training, which orders centroids for a search that nobody does here.
    _exhaustive("pq", "PQ", "PQ{m}x8np", asked),
    _exhaustive("opq", "OPQ", "OPQ,PQ{m}x8np", asked, "faiss's own training"),
    _exhaustive("lsh", "LSH", lsh, asked),
    _exhaustive("itq-lsh", "ITQ+LSH", itq_lsh, lambda d, m: itq_bits(d, m) / 8, "at most one bit a dimension"),
    _exhaustive(
        *("rabitq", "RaBitQ", rabitq, lambda d, m: min(m, (d + 7) // 8 + RABITQ_FACTORS)),
        note="on principal components where it has fewer bits than dimensions",
    ),
    _exhaustive(
        *("rabitq-whole", "RaBitQ, all dimensions", rabitq_whole, lambda d, _: (d + 7) // 8 + RABITQ_FACTORS, UNEQUAL),
    ),
    _exhaustive(
        *("turboquant", "TurboQuant", turboquant, lambda d, m: math.prod(turboquant_bits(d, m)) / 8),
        note="on principal components where it has fewer bits than dimensions",
    ),
    _exhaustive("int8", "Scalar int8", "SQ8", lambda d, _: d, UNEQUAL),
    _partial("imi", "IMI", imi, NPROBE, whole, WHOLE),
    _partial("ivf-opq", "IVF-OPQ", "OPQ,IVF{lists},PQ{m}x8np", NPROBE, asked, "8 bytes of id beside each code"),
    # Malkov and Yashunin, TPAMI 2018.
    _partial("hnsw", "HNSW (faiss)", f"HNSW{LINKS},Flat", EF_SEARCH, whole, WHOLE),
    _partial("hnsw-opq", "HNSW+OPQ", f"OPQ,HNSW{LINKS}_PQ{{m}}np", EF_SEARCH, asked, "links beside each code"),
)

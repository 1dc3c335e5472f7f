"""All baselines by name."""

from functools import partial

from pyserini_jpq.compare.baselines import (
    anisotropic,
    binary,
    compressed,
    differentiable,
    faiss_index,
    graphs,
    inverted,
    trees,
)
from pyserini_jpq.compare.baselines.base import Engine, asked, whole
from pyserini_jpq.errors import JPQError

_POWERS = tuple(1 << i for i in range(15))
_TREE_NODES = tuple(16 * power for power in _POWERS)

_small = partial(Engine, kind="compressed", load=faiss_index.load)
_scann = partial(Engine, load=anisotropic.load, module="scann", extra="baselines")
_fast = partial(Engine, kind="non-exhaustive", efforts=_POWERS)
_lists = partial(_fast, load=partial(faiss_index.load, parameter=inverted.PARAMETER))
_graph = partial(_fast, load=partial(faiss_index.load, parameter=graphs.PARAMETER))

_UNEQUAL = "not of equal bytes"
_WHOLE = "whole vectors"
_UNPACKED = "its file has one code of 4 bits a byte"


def _signs(dimension: int, _: int) -> float:
    return (dimension + 7) // 8


def _signs_and_factors(dimension: int, _: int) -> float:
    return (dimension + 7) // 8 + compressed.RABITQ_FACTORS


def _itq(dimension: int, bytes_per_document: int) -> float:
    return compressed.itq_bits(dimension, bytes_per_document) / 8


def _byte_each(dimension: int, _: int) -> float:
    return dimension


_ALL = (
    Engine("flat", "Flat", "exhaustive", compressed.flat, faiss_index.load, whole),
    _small("pq", "PQ", build=compressed.pq, code_bytes=asked),
    _small("opq", "OPQ", build=compressed.opq_pq, code_bytes=asked, note="faiss's own training"),
    _small(
        "dpq",
        "DPQ",
        build=differentiable.dpq,
        code_bytes=asked,
        supervised=True,
        note="trained by ranking and reconstruction from OPQ on; the query encoder as it is",
    ),
    _small("lsh", "LSH", build=compressed.lsh, code_bytes=asked),
    _small("itq-lsh", "ITQ+LSH", build=compressed.itq_lsh, code_bytes=_itq, note="at most one bit a dimension"),
    _scann("scann", "ScaNN", "compressed", anisotropic.scann, code_bytes=asked, note=_UNPACKED),
    _scann("opq-scann", "OPQ+ScaNN", "compressed", anisotropic.opq_scann, code_bytes=asked, note=_UNPACKED),
    _small(
        "rabitq",
        "RaBitQ",
        build=compressed.rabitq,
        code_bytes=compressed.rabitq_bytes,
        note="on principal components where it has fewer bits than dimensions",
    ),
    _small(
        "rabitq-whole",
        "RaBitQ, all dimensions",
        build=compressed.rabitq_whole,
        code_bytes=_signs_and_factors,
        note=_UNEQUAL,
    ),
    Engine("binary", "Binary, re-scored", "compressed", binary.build, binary.load, _signs, note=_UNEQUAL),
    _small("int8", "Scalar int8", build=compressed.scalar_int8, code_bytes=_byte_each, note=_UNEQUAL),
    _lists("imi", "IMI", build=inverted.imi, code_bytes=whole, note=_WHOLE),
    _lists("ivf-opq", "IVF-OPQ", build=inverted.ivf_opq, code_bytes=asked, note="8 bytes of id beside each code"),
    _graph("hnsw", "HNSW (faiss)", build=graphs.hnsw, code_bytes=whole, note=_WHOLE),
    _graph("hnsw-opq", "HNSW+OPQ", build=graphs.hnsw_opq, code_bytes=asked, note="links beside each code"),
    _fast(
        "hnswlib",
        "HNSW (hnswlib)",
        build=graphs.build_hnswlib,
        load=graphs.load_hnswlib,
        code_bytes=whole,
        module="hnswlib",
        extra="baselines",
        note=f"{_WHOLE}; looks at as many nodes as hits are wanted at least",
    ),
    _fast(
        "annoy",
        "Annoy",
        build=trees.build,
        load=trees.load,
        code_bytes=whole,
        efforts=_TREE_NODES,
        module="annoy",
        extra="baselines",
        note=_WHOLE,
    ),
    _scann(
        "scann-tree",
        "ScaNN, tree",
        "non-exhaustive",
        anisotropic.scann_tree,
        code_bytes=whole,
        efforts=_POWERS,
        note=f"{_WHOLE} beside the codes",
    ),
)

ENGINES: dict[str, Engine] = {engine.name: engine for engine in _ALL}

UNMAINTAINED = {
    "flann": ("FLANN", "no maintained package: pyflann does not import on Python 3, and pyflann-py3 had one release"),
    "falconn": ("FALCONN", "no maintained package: FALCONN 1.3.1, the last release, did not compile on Python 3.11"),
}
"""Of the paper's baselines those that cannot be measured: title and reason."""


def find_engine(name: str) -> Engine:
    """Return the engine of that name.

    Raises
    ------
    JPQError
        If there is none.
    """
    if name not in ENGINES:
        raise JPQError(f"no baseline is named {name!r}; there are {', '.join([*ENGINES, *UNMAINTAINED])}")
    return ENGINES[name]

"""The engines that are compared: all search the same documents, each behind `search(queries, k)` as faiss has it."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.errors import JPQError
from pyserini_jpq.index.faiss import read_faiss, to_faiss
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer
from pyserini_jpq.scan import available
from pyserini_jpq.search.engine import ScanEngine

Search = Callable[[Floats, int], tuple[Any, Any]]

OURS = "ours"
EXACT_4 = "ours, 4 bits"
FOUR_BITS = ("FastScan", "FastScan, rescored", EXACT_4)

LARGEST_FLAT = 4 << 30
"""Bytes of uncompressed vectors beyond which the flat index is left out."""


@dataclass
class Engine:
    """One way to search, and the engine whose results are exact over the same codes."""

    name: str
    search: Search
    bytes_per_document: float
    exact: str
    keep: tuple[Any, ...] = ()


def random_quantizer(dimension: int, m: int, bits: int, rng: np.random.Generator) -> ProductQuantizer:
    """Return a quantizer of random rotation and centroids; they matter to the time of no engine here."""
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0].astype(np.float32)
    return ProductQuantizer(rotation, rng.normal(size=(m, 2**bits, dimension // m)).astype(np.float32))


def make_engines(
    quantizer: ProductQuantizer, codes: Codes, rng: np.random.Generator, wanted: Sequence[str] = ()
) -> list[Engine]:
    """Return engines over these documents; those of 4 bits, of another quantizer, over as many random codes.

    Parameters
    ----------
    quantizer
        Rotation and centroids, 8 bits.
    codes
        [N, M] uint8.
    rng
        For the codes of 4 bits.
    wanted
        Names; all by default. `IndexPQ`, with which the others are compared, is always there.

    Raises
    ------
    JPQError
        If there is no engine of a name here.
    """
    index = to_faiss(quantizer, codes)
    groups: dict[tuple[str, ...], Callable[[], list[Engine]]] = {}
    if available():
        groups[(OURS,)] = lambda: [ours(index, quantizer.m)]
        if quantizer.dimension % (2 * quantizer.m) == 0:
            groups[FOUR_BITS] = lambda: fast_scan(quantizer, len(codes), rng)
    if 4 * quantizer.dimension * len(codes) <= LARGEST_FLAT:
        groups[("flat",)] = lambda: [flat(quantizer, codes)]
    names = ["IndexPQ", *(name for group in groups for name in group)]
    for name in wanted:
        if name not in names:
            raise JPQError(f"no engine {name!r} here; there are {', '.join(names)}")
    engines = [Engine("IndexPQ", index.search, quantizer.m, "IndexPQ", (index,))]
    for group, make in groups.items():
        if not wanted or set(wanted) & set(group):
            engines += make()
    return engines


def ours(index: Any, bytes_per_document: int) -> Engine:
    """Return the scan over the index as `JPQFaissSearcher` has it: in a file, mapped into memory."""
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        faiss.write_index(index, str(path))
        mapped = read_faiss(path, mapped=True)  # what is mapped stays when the file's name is gone
    search = ScanEngine(mapped, "the index").search
    return Engine(OURS, search, bytes_per_document, "IndexPQ", (mapped,))


def fast_scan(quantizer: ProductQuantizer, documents: int, rng: np.random.Generator) -> list[Engine]:
    """Return faiss's 4-bit index of the same bytes a document: as it is, and its best 4 k scored again exactly."""
    import faiss

    coarse = random_quantizer(quantizer.dimension, 2 * quantizer.m, 4, rng)
    whole = to_faiss(coarse, rng.integers(0, 16, (documents, coarse.m), dtype=np.uint8))
    inner: Any = faiss.downcast_index(whole.index)
    fast = faiss.IndexPQFastScan(inner)
    refined = faiss.IndexRefine(fast, inner)
    refined.k_factor = 4
    rotate = coarse.rotate
    bytes_each = quantizer.m
    found = [
        Engine("FastScan", lambda q, k: fast.search(rotate(q), k), bytes_each, EXACT_4, (whole, fast)),
        Engine("FastScan, rescored", lambda q, k: refined.search(rotate(q), k), 2 * bytes_each, EXACT_4, (refined,)),
    ]
    # faiss's own exact search of 4 bits takes a second for each million documents: the scan stands for it.
    return [*found, Engine(EXACT_4, ScanEngine(whole, "the index").search, bytes_each, EXACT_4)]


def flat(quantizer: ProductQuantizer, codes: Codes) -> Engine:
    """Return the uncompressed index of the vectors that the codes stand for."""
    import faiss

    index = faiss.IndexFlatIP(quantizer.dimension)
    for start in range(0, len(codes), 1 << 14):
        index.add(quantizer.decode(codes[start : start + (1 << 14)]))
    return Engine("flat", lambda q, k: index.search(quantizer.rotate(q), k), 4 * quantizer.dimension, "IndexPQ")

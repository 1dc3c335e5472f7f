"""The engines that are compared, each over the same documents."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import Data, add_decoded, queries_for, random_quantizer, vectors_of
from benchmarks.measure import Contender
from benchmarks.partial import hnsw_flat, ivf
from pyserini_jpq import cli
from pyserini_jpq.errors import InstallationError, JPQError
from pyserini_jpq.index.blocks import write_blocks
from pyserini_jpq.index.faiss_format import stored_codes, to_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.manifest import BLOCKS, INDEX
from pyserini_jpq.quantizer import Codes, ProductQuantizer
from pyserini_jpq.scan import available
from pyserini_jpq.search.adapter import FaissLike
from pyserini_jpq.search.engines.scan import ScanEngine

OURS = "ours"
EXACT_4 = "ours, 4 bits"
FOUR_BITS = ("FastScan", "FastScan, rescored", EXACT_4)
IVF = "IVF"
HNSW = "HNSW flat"
LUCENE_HNSW = "Lucene HNSW int8"
BM25 = "BM25"

LARGEST_FLAT = 4 << 30
"""Bytes of uncompressed vectors beyond which the flat index is left out."""

LARGEST_GRAPH = 20_000
"""Documents beyond which graphs are built only where they are asked for: it takes minutes."""


def make_engines(
    data: Data,
    rng: np.random.Generator,
    wanted: Sequence[str] = (),
    lists: int | None = None,
    nprobes: Sequence[int] = (),
    collection: Path | None = None,
) -> list[Contender]:
    """Return engines over these documents; those of 4 bits, of another quantizer, over as many random codes.

    Parameters
    ----------
    data
        The documents.
    rng
        For the codes of 4 bits.
    wanted
        Names; by default all that are not slow to build. `IndexPQ`, with which the others are compared, is always
        there.
    lists
        Inverted lists to make; none by default.
    nprobes
        How many of them a query looks at: an engine for each.
    collection
        The documents' texts, for BM25.

    Raises
    ------
    JPQError
        If there is no engine of a name here.
    """
    quantizer, codes = data.quantizer, data.codes
    index = to_faiss(quantizer, codes)
    groups: dict[tuple[str, ...], Callable[[], list[Contender]]] = {}
    if available():
        groups[(OURS,)] = lambda: [ours(index, quantizer.m)]
        if quantizer.dimension % (2 * quantizer.m) == 0:
            groups[FOUR_BITS] = lambda: fast_scan(quantizer, len(codes), rng)
    if 4 * quantizer.dimension * len(codes) <= LARGEST_FLAT:
        groups[("flat",)] = lambda: [flat(quantizer, codes)]
    if lists:
        groups[(IVF,)] = lambda: ivf(index, quantizer.m, lists, nprobes)
    groups[(HNSW,)] = lambda: [hnsw_flat(quantizer, codes)]
    groups[(LUCENE_HNSW,)] = lambda: _lucene_hnsw(quantizer, codes, asked=LUCENE_HNSW in wanted)
    if collection:
        groups[(BM25,)] = lambda: [_lucene().bm25(collection, data.docids)]
    names = ["IndexPQ", *(name for group in groups for name in group)]
    for name in wanted:
        if name not in names:
            raise JPQError(f"no engine {name!r} here; there are {', '.join(names)}")
    slow = {LUCENE_HNSW, HNSW} if len(codes) > LARGEST_GRAPH else set()
    if not collection:  # nothing else needs a JVM
        slow.add(LUCENE_HNSW)
    engines = [Contender("IndexPQ", index.search, quantizer.m, keep=(index,))]
    for group, make in groups.items():
        if set(wanted) & set(group) or not (wanted or set(group) & slow):
            engines += make()
    return engines


def _lucene_hnsw(quantizer: ProductQuantizer, codes: Codes, asked: bool) -> list[Contender]:
    """Return Lucene's graph of vectors; none where Anserini cannot open it and nobody asked for it by name."""
    try:
        return [_lucene().lucene_hnsw(quantizer, codes)]
    except InstallationError as error:
        if asked:
            raise
        cli.warn(f"{error}; it is left out")
        return []


def _lucene() -> Any:
    """Return the module of Lucene's engines, whose import starts a JVM."""
    from benchmarks import lucene

    return lucene


def ours(index: Any, bytes_per_document: int, name: str = OURS, exact: str = "IndexPQ") -> Contender:
    """Return the scan over the index as `JPQFaissSearcher` has it: in files, mapped into memory."""
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        path, blocks = Path(folder) / INDEX, Path(folder) / BLOCKS
        faiss.write_index(index, str(path))
        mapped = read_faiss(path, mapped=True)  # what is mapped stays when the file's name is gone
        write_blocks(blocks, stored_codes(index, path))
        engine = FaissLike(ScanEngine(mapped, "the index", blocks))
    return Contender(name, engine.search, bytes_per_document, exact, keep=(mapped,))


def fast_scan(quantizer: ProductQuantizer, documents: int, rng: np.random.Generator) -> list[Contender]:
    """Return faiss's 4-bit index of the same bytes a document: as it is, and its best 4 k scored again exactly."""
    import faiss

    coarse = random_quantizer(quantizer.dimension, 2 * quantizer.m, 4, rng)
    whole = to_faiss(coarse, rng.integers(0, 16, (documents, coarse.m), dtype=np.uint8))
    inner: Any = faiss.downcast_index(whole.index)
    fast = faiss.IndexPQFastScan(inner)
    refined = faiss.IndexRefine(fast, inner)
    refined.k_factor = 4
    rotate = coarse.rotate
    size = quantizer.m
    found = [
        Contender("FastScan", lambda q, k: fast.search(rotate(q), k), size, EXACT_4, keep=(whole, fast)),
        Contender("FastScan, rescored", lambda q, k: refined.search(rotate(q), k), 2 * size, EXACT_4, keep=(refined,)),
    ]
    # faiss's own exact search of 4 bits takes a second for each million documents; the scan takes its place.
    return [*found, ours(whole, size, EXACT_4, EXACT_4)]


def flat(quantizer: ProductQuantizer, codes: Codes) -> Contender:
    """Return the flat index of the decoded vectors."""
    import faiss

    index = faiss.IndexFlatIP(vectors_of(quantizer, codes[:1]).shape[1])
    add_decoded(index, quantizer, codes)
    return Contender("flat", lambda q, k: index.search(queries_for(quantizer, q), k), 4 * index.d)

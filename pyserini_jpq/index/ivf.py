"""Inverted lists over the codes of an index, so that a search scores few documents.

faiss's `IndexIVFPQ` gets the centroids and codes of the index, without residuals, so that scores are the same.
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.ahead import ahead
from pyserini_jpq.errors import IndexFolderError, JPQError
from pyserini_jpq.index.faiss_format import (
    dimensions_of,
    first_places,
    quantizer_of,
    set_centroids,
    spread,
    stored_codes,
    transformed,
    unpack,
    widened,
)
from pyserini_jpq.index.joined import JoinedCodes
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

HNSW_FROM = 4096
"""Least number of lists for which a graph finds the nearest ones; below, all are compared."""

_LINKS = 32
_SAMPLE = 64
_SEED = 42
_BLOCK = 1 << 14
_SHARE = 8  # less than half the time of exhaustive search of a million documents: docs/search.md


def make_again(index: str | Path) -> str:
    """Return the remedy for lists that are damaged or of another index."""
    return f"make them again with `python -m pyserini_jpq.index --index {index} --ivf LISTS`"


def default_nprobe(lists: int) -> int:
    """Return the default number of lists to probe: an eighth."""
    return max(1, lists // _SHARE)


def build_ivf(index: Any, where: str | Path, lists: int) -> Any:
    """Sort the documents of an index into lists, each by the direction with the largest inner product.

    Directions come from spherical k-means on decoded documents. As queries rank by inner product, the best documents
    were found in fewer lists than with Euclidean distance.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits per code.
    where
        Path or name of the index, for errors.
    lists
        Number of lists.

    Returns
    -------
    Any
        A faiss index: the rotation, then an `IndexIVFPQ` of the same codes; see `set_nprobe`.

    Raises
    ------
    IndexFolderError
        If there are more lists than documents.
    """
    quantizer, stored = by_bytes(quantizer_of(index, where)), stored_codes(index, where)
    check_lists(lists, len(stored), where)
    return sorted_lists(coarse_of(quantizer, stored, lists), quantizer, stored, range(len(stored)))


def coarse_of(quantizer: ProductQuantizer, stored: Codes | JoinedCodes, lists: int) -> Any:
    """Return a faiss index of the directions of the lists; parameters as for `sorted_lists`."""
    return _coarse(quantizer, _directions(quantizer, stored, lists))


def sorted_lists(coarse: Any, quantizer: ProductQuantizer, stored: Codes | JoinedCodes, rows: range) -> Any:
    """Sort some documents into lists, numbered from 0.

    Parameters
    ----------
    coarse
        A faiss index of the directions of the lists.
    quantizer
        The quantizer, `by_bytes`.
    stored
        [N, bytes of a document] uint8, of all documents.
    rows
        The documents to sort: those of a shard, or all. Their lists do not depend on the others.

    Returns
    -------
    Any
        As `build_ivf`.
    """
    lists = empty_lists(coarse, quantizer)
    inner = lists_of(lists)
    _fill(inner, stored[rows.start : rows.stop], _nearest(coarse, quantizer, stored, rows))
    lists.ntotal = inner.ntotal
    return lists


def empty_lists(coarse: Any, quantizer: ProductQuantizer) -> Any:
    """Return inverted lists without documents; parameters and result as for `sorted_lists`."""
    import faiss

    shape = coarse.d, coarse.ntotal, quantizer.m, quantizer.bits
    inner: Any = faiss.IndexIVFPQ(coarse, *shape, faiss.METRIC_INNER_PRODUCT)
    inner.by_residual = False
    set_centroids(inner, widened(quantizer))
    inner.is_trained = True
    outer = transformed(quantizer, inner)
    outer.referenced_objects.append(coarse)
    return outer


def lists_of(index: Any) -> Any:
    """Return the `IndexIVFPQ` of an index of `build_ivf`."""
    import faiss

    return faiss.downcast_index(index.index)


def set_nprobe(index: Any, nprobe: int) -> None:
    """Set the number of lists that an index of `build_ivf` probes; raise JPQError if it has fewer."""
    import faiss

    inner = lists_of(index)
    check_nprobe(nprobe, lists_in(index))
    inner.nprobe = nprobe
    coarse = directions_of(inner)
    if isinstance(coarse, faiss.IndexHNSW):
        coarse.hnsw.efSearch = max(2 * nprobe, 64)


def lists_in(index: Any) -> int:
    """Return the number of lists of an index of `build_ivf`."""
    return int(lists_of(index).nlist)


def check_lists(lists: int, documents: int, where: str | Path) -> None:
    """Raise IndexFolderError if there are fewer documents than lists."""
    if lists > documents:
        raise IndexFolderError(f"{where} holds {documents} documents, too few for {lists} lists; ask for fewer lists")


def check_nprobe(nprobe: int, lists: int) -> None:
    """Raise JPQError if there are fewer than `nprobe` lists."""
    if not 1 <= nprobe <= lists:
        raise JPQError(f"--nprobe {nprobe} of {lists} lists; give a number from 1 to {lists}")


def by_bytes(quantizer: ProductQuantizer) -> ProductQuantizer:
    """Return a quantizer with codes of 8 bits, if possible: `paired` for 4 bits and even M, else the same."""
    books = quantizer.m // quantizer.parts
    can = quantizer.m % 2 == 0 and (books == 1 or books % 2 == 0)
    return paired(quantizer) if quantizer.bits == 4 and can else quantizer


def paired(quantizer: ProductQuantizer) -> ProductQuantizer:
    """Return the quantizer whose codes of 8 bits are faiss's bytes of two codes of 4 bits, for a faster lookup.

    Parameters
    ----------
    quantizer
        16 centroids in each of M codebooks, M even, as is M/S if it is additive.
    """
    first, second = quantizer.centroids[::2], quantizer.centroids[1::2]
    if quantizer.additive:
        sums = first[:, None] + second[:, :, None]
        return dataclasses.replace(
            quantizer, centroids=sums.reshape(len(first), 256, -1), biases=_paired_biases(quantizer)
        )
    pairs = np.concatenate(
        [
            np.broadcast_to(first[:, None], (len(first), 16, *first.shape[1:])),  # the lower half of a byte
            np.broadcast_to(second[:, :, None], (len(second), 16, *second.shape[1:])),
        ],
        axis=3,
    )
    centroids = np.ascontiguousarray(pairs.reshape(len(first), 256, -1))
    return ProductQuantizer(quantizer.rotation, centroids, _paired_biases(quantizer))


def _paired_biases(quantizer: ProductQuantizer) -> Floats | None:
    biases = quantizer.biases
    return None if biases is None else (biases[::2, None, :] + biases[1::2, :, None]).reshape(-1, 256)


def _nearest(coarse: Any, quantizer: ProductQuantizer, stored: Codes | JoinedCodes, rows: range) -> NDArray[np.int64]:
    """Return the list of each of some documents, [n] int64."""
    # The blocks of all documents: a product's order of summation may depend on its number of rows.
    starts = range(rows.start // _BLOCK * _BLOCK, rows.stop, _BLOCK)
    blocks = (stored[start : start + _BLOCK] for start in starts)
    nearest_of = _choice(coarse, quantizer)
    with ThreadPoolExecutor(1, "decode") as executor:
        decoded = ahead(executor, lambda block: _decoded(quantizer, block), blocks)
        found = np.concatenate([nearest_of(vectors) for vectors in decoded])
    nearest = found[rows.start - starts.start :][: len(rows)]
    # A graph that finds nothing returns -1; any list will do.
    lists: NDArray[np.int64] = np.maximum(nearest, 0)
    return lists


def _choice(coarse: Any, quantizer: ProductQuantizer) -> Callable[[Floats], NDArray[np.int64]]:
    """Return what chooses the lists of rotated vectors, [n, D] float32 to [n] int64."""
    import faiss

    directions = _behind(coarse)
    if isinstance(directions, faiss.IndexHNSW):
        return lambda vectors: directions.search(in_directions(quantizer, vectors, 0.0), 1)[1][:, 0]
    # A plain product took a third of the time of faiss's search for the best of some hundred.
    matrix = directions.reconstruct_n(0, directions.ntotal)
    columns = matrix if quantizer.additive else matrix[:, first_places(quantizer)]
    return lambda vectors: (vectors @ columns.T).argmax(axis=1)


def directions_of(inner: Any) -> Any:
    """Return the faiss index of the directions of lists, which is searched with vectors of `in_directions`."""
    return _behind(inner.quantizer)


def in_directions(quantizer: ProductQuantizer, rotated: Floats, value: float) -> Floats:
    """Return rotated vectors in the dimensions of the directions of lists; parameters as for `spread`.

    Biases do not affect the choice of lists: directions are 0 in their coordinates. Directions of additive codes have
    the D dimensions of a vector, as M times as many would take M times the memory.
    """
    return rotated if quantizer.additive else spread(quantizer, rotated, value)


def _behind(coarse: Any) -> Any:
    import faiss

    coarse = faiss.downcast_index(coarse)
    return faiss.downcast_index(coarse.index) if isinstance(coarse, faiss.IndexPreTransform) else coarse


def _fill(inner: Any, stored: Codes, nearest: NDArray[np.int64]) -> None:
    import faiss

    order = np.argsort(nearest, kind="stable")
    starts = np.searchsorted(nearest[order], np.arange(inner.nlist + 1))
    for number, (start, end) in enumerate(pairwise(starts)):
        rows = np.ascontiguousarray(order[start:end], dtype=np.int64)
        codes = np.ascontiguousarray(stored[rows])
        if len(rows):
            inner.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    inner.ntotal = len(stored)


def _decoded(quantizer: ProductQuantizer, stored: Codes) -> Floats:
    return quantizer.decode(unpack(stored, quantizer.m, quantizer.bits))


def _directions(quantizer: ProductQuantizer, stored: Codes | JoinedCodes, lists: int) -> Floats:
    """Return the means of spherical k-means on a sample, [lists, D] float32 of unit length."""
    import faiss

    rng = np.random.default_rng(_SEED)
    rows = np.sort(rng.choice(len(stored), min(len(stored), _SAMPLE * lists), replace=False))
    # min_points_per_centroid silences a warning.
    kmeans = faiss.Kmeans(
        quantizer.dimension, lists, niter=10, seed=_SEED, spherical=True, min_points_per_centroid=1, verbose=False
    )
    kmeans.train(_decoded(quantizer, stored[rows]))
    return np.asarray(kmeans.centroids, dtype=np.float32)


def _coarse(quantizer: ProductQuantizer, directions: Floats) -> Any:
    """Return the faiss index of directions for the dimensions of the codes."""
    import faiss

    directions = in_directions(quantizer, directions, 0.0)
    if len(directions) < HNSW_FROM:
        coarse: Any = faiss.IndexFlatIP(directions.shape[1])
    else:
        coarse = faiss.IndexHNSWFlat(directions.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    coarse.add(directions)
    if not quantizer.additive:
        return coarse
    first = first_places(quantizer)
    once: Any = faiss.RemapDimensionsTransform(dimensions_of(quantizer), len(first), faiss.swig_ptr(first))
    outer: Any = faiss.IndexPreTransform(once, coarse)
    outer.referenced_objects = [once, coarse]  # Python owns them
    return outer

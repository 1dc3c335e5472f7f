"""The only conversions between our quantizer and faiss.

On disk the index is faiss's own: `IndexPreTransform(rotation -> IndexPQ)`, inner product, which the stock
`FaissSearcher` of Pyserini opens. Two things faiss lacks are put into its dimensions:

- Biases are one more coordinate of each centroid. After the rotation a query gets a coordinate of 1 in each subspace,
  which makes D/M + 1; decoding drops it, so that faiss scores and reconstructs as we do.
- Additive codes: after the rotation a query is repeated for every codebook of a part, so that the `IndexPQ` has M
  subspaces of D/S dimensions. Only ranking is the stock searcher's: faiss would reconstruct the last codebook's
  centroids, not their sum, which our searcher returns.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import IndexFolderError, QuantizerError
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer


def to_faiss(quantizer: ProductQuantizer, codes: Codes) -> Any:
    """Return a faiss index that ranks by ⟨R q, decoded document⟩ plus biases.

    Parameters
    ----------
    quantizer
        Rotation and centroids, K = 256 or 16.
    codes
        [N, M] uint8.
    """
    import faiss

    codes = pack(codes, quantizer.bits)
    centroids = widened(quantizer)
    inner = faiss.IndexPQ(
        centroids.shape[0] * centroids.shape[2], quantizer.m, quantizer.bits, faiss.METRIC_INNER_PRODUCT
    )
    set_centroids(inner, centroids)
    inner.is_trained = True
    if len(codes):
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), inner.codes)
    inner.ntotal = len(codes)
    return transformed(quantizer, inner)


def transformed(quantizer: ProductQuantizer, inner: Any) -> Any:
    """Return an `IndexPreTransform`: rotation, coordinates for biases if any, `inner` index of `widened` centroids."""
    import faiss

    steps = [rotation_of(quantizer), *_spreading(quantizer)]
    index: Any = faiss.IndexPreTransform(inner)
    for step in reversed(steps):
        index.prepend_transform(step)
    # Python owns the parts, and has to keep them as long as the index.
    index.referenced_objects = [*steps, inner]
    return index


def widened(quantizer: ProductQuantizer) -> Floats:
    """Return the centroids with their biases as one more coordinate; without biases, unchanged.

    Returns
    -------
    numpy.ndarray
        [M, K, D/S + 1] or [M, K, D/S] float32.
    """
    if quantizer.biases is None:
        return quantizer.centroids
    return np.concatenate([quantizer.centroids, quantizer.biases[:, :, None]], axis=2)


def of_widened(rotation: Floats, centroids: Floats, biased: bool) -> ProductQuantizer:
    """Return the quantizer of `widened` centroids, which are copied."""
    if not biased:
        return ProductQuantizer(rotation, centroids.copy())
    return ProductQuantizer(rotation, centroids[:, :, :-1].copy(), centroids[:, :, -1].copy())


def spread(quantizer: ProductQuantizer, rotated: Floats, value: float) -> Floats:
    """Return rotated vectors in the dimensions of the `IndexPQ`.

    Parameters
    ----------
    quantizer
        Quantizer of D dimensions and M codebooks.
    rotated
        [N, D] float32.
    value
        Value of the coordinates of biases, if there are any: 1 adds them to scores, as for a query; 0 does not.

    Returns
    -------
    numpy.ndarray
        [N, D], with biases [N, D + M]; additive [N, M D/S] or [N, M (D/S + 1)] float32.
    """
    if quantizer.biases is None and not quantizer.additive:
        return rotated
    places = _places(quantizer)
    wide = rotated[:, places]
    wide[:, places < 0] = value
    return wide


def _spreading(quantizer: ProductQuantizer) -> list[Any]:
    """Return the transforms that do what `spread` does."""
    import faiss

    if quantizer.biases is None and not quantizer.additive:
        return []
    places = _places(quantizer)
    repeated: Any = faiss.RemapDimensionsTransform(quantizer.dimension, len(places), faiss.swig_ptr(places))
    if quantizer.biases is None:
        return [repeated]
    ones: Any = faiss.CenteringTransform(len(places))
    faiss.copy_array_to_vector(_mean(places), ones.mean)
    ones.is_trained = True
    return [repeated, ones]


def dimensions_of(quantizer: ProductQuantizer) -> int:
    """Return the number of dimensions of the `IndexPQ`."""
    return len(_places(quantizer))


def first_places(quantizer: ProductQuantizer) -> NDArray[np.int32]:
    """Return the first coordinate of the `IndexPQ` that repeats each of the D dimensions, [D] int32."""
    dimensions, first = np.unique(_places(quantizer), return_index=True)
    return np.ascontiguousarray(first[dimensions >= 0], dtype=np.int32)


def _places(quantizer: ProductQuantizer) -> NDArray[np.int32]:
    """Return the source of each coordinate of the `IndexPQ`, int32; -1 for those of biases."""
    parts = np.arange(quantizer.dimension, dtype=np.int32).reshape(quantizer.parts, -1)
    books = np.repeat(parts, quantizer.m // quantizer.parts, axis=0)
    width = int(quantizer.biases is not None)
    return np.pad(books, ((0, 0), (0, width)), constant_values=-1).ravel()


def _mean(places: NDArray[np.int32]) -> Floats:
    """Return what is subtracted, so that the coordinates of biases, which are 0, become 1."""
    return -(places < 0).astype(np.float32)


def rotation_of(quantizer: ProductQuantizer) -> Any:
    """Return the rotation as a faiss transform."""
    import faiss

    rotation = faiss.OPQMatrix(quantizer.dimension, quantizer.m)
    faiss.copy_array_to_vector(np.ascontiguousarray(quantizer.rotation).ravel(), rotation.A)
    rotation.is_trained = True
    rotation.is_orthonormal = True
    return rotation


def set_centroids(index: Any, centroids: Floats) -> None:
    """Replace the centroids of an index in place, `widened` if it has biases; its codes stay."""
    import faiss

    faiss.copy_array_to_vector(np.ascontiguousarray(centroids, dtype=np.float32).ravel(), index.pq.centroids)


def parts_of(index: Any, where: str | Path) -> tuple[Any, Any]:
    """Return the rotation and the `IndexPQ` of a faiss index.

    Raises
    ------
    IndexFolderError
        If the index is of another type.
    """
    import faiss

    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = faiss.downcast_index(index.index)
        is_ours = isinstance(inner, faiss.IndexPQ) and inner.metric_type == faiss.METRIC_INNER_PRODUCT
        if is_ours and (found := transform_before(index)) is not None:
            return found, inner
    raise IndexFolderError(f"{where} is no rotation followed by an IndexPQ with inner product, but {type(index)}")


def transform_before(index: Any) -> Any:
    """Return the first transform of an `IndexPreTransform` with exactly those of `transformed`, else None."""
    chain = _chain(index)
    if len(chain) == 1 and _is_linear(chain[0]):
        return chain[0]
    return None if chain_quantizer(index) is None else chain[0]


def chain_quantizer(index: Any) -> ProductQuantizer | None:
    """Return the quantizer, copied, of an `IndexPreTransform` before codes of 4 or 8 bits, lists or none.

    None if its transforms are not those of `transformed`.
    """
    import faiss

    chain, pq = _chain(index), getattr(faiss.downcast_index(index.index), "pq", None)
    if not chain or pq is None or not _is_linear(chain[0]) or len(chain) > 3:
        return None
    matrix = faiss.vector_to_array(chain[0].A).reshape(chain[0].d_out, chain[0].d_in).copy()
    centroids = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
    try:
        found = of_widened(matrix, centroids, len(chain) == 3)
    except QuantizerError:
        return None
    return found if _alike(chain[1:], _spreading(found)) else None


def _chain(index: Any) -> list[Any]:
    import faiss

    chain: Any = index.chain
    return [faiss.downcast_VectorTransform(chain.at(i)) for i in range(chain.size())]


def _is_linear(transform: Any) -> bool:
    import faiss

    return isinstance(transform, faiss.LinearTransform) and not transform.have_bias


def _alike(found: list[Any], expected: list[Any]) -> bool:
    """Return whether transforms are a remapping of dimensions, and then a shift, with the same values."""
    import faiss

    if len(found) != len(expected):
        return False
    kinds = (("map", faiss.RemapDimensionsTransform), ("mean", faiss.CenteringTransform))
    return all(
        isinstance(step, kind)
        and np.array_equal(faiss.vector_to_array(getattr(step, name)), faiss.vector_to_array(getattr(other, name)))
        for step, other, (name, kind) in zip(found, expected, kinds, strict=False)
    )


def pack(codes: Codes, bits: int) -> Codes:
    """Return codes as faiss stores them: two of 4 bits share a byte, the first in its lower half.

    Parameters
    ----------
    codes
        [N, M] uint8.
    bits
        4, or 8 for no change.

    Raises
    ------
    QuantizerError
        For any other number of bits.
    """
    if _are_bytes(bits):
        return codes
    codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    packed: Codes = codes[:, ::2] | np.left_shift(codes[:, 1::2], np.uint8(4))
    return packed


def unpack(packed: Codes, m: int, bits: int) -> Codes:
    """Return codes as faiss stores them as one code per byte, [N, M] uint8; the inverse of `pack`."""
    if _are_bytes(bits):
        return packed
    return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), 2 * packed.shape[1])[:, :m]


def _are_bytes(bits: int) -> bool:
    if bits not in (4, 8):
        raise QuantizerError(f"codes of {bits} bits; only 4 and 8 are known")
    return bits == 8


def stored_codes(index: Any, where: str | Path) -> Codes:
    """Return the codes as faiss stores them, [N, bytes of a document] uint8: a view, which keeps the index."""
    import faiss

    _, inner = parts_of(index, where)
    size = inner.ntotal * inner.pq.code_size
    codes = faiss.rev_swig_ptr(inner.codes.data(), size) if size else np.empty(0, dtype=np.uint8)
    stored: Codes = np.asarray(_Owned(codes, index)).reshape(inner.ntotal, inner.pq.code_size)
    return stored


class _Owned:
    """The memory of an array that does not keep its owner, with the owner."""

    def __init__(self, array: Codes, owner: Any) -> None:
        self.__array_interface__ = array.__array_interface__
        self._owner = owner


def quantizer_of(index: Any, where: str | Path) -> ProductQuantizer:
    """Return the quantizer of an index, copied."""
    parts_of(index, where)
    found = chain_quantizer(index)
    if found is None:
        raise IndexFolderError(f"{where} is damaged: its rotation and centroids do not fit, or are not finite")
    return found


def from_faiss(index: Any, where: str | Path) -> tuple[ProductQuantizer, Codes]:
    """Return the quantizer, copied, and the codes, [N, M] uint8; of 8 bits a view, which keeps the index."""
    quantizer = quantizer_of(index, where)
    return quantizer, unpack(stored_codes(index, where), quantizer.m, quantizer.bits)


def file_frame(quantizer: ProductQuantizer, documents: int) -> tuple[bytes, bytes]:
    """Return the bytes before and after the codes in an index file.

    With them an index file of any size is written around codes that are streamed to disk. The positions of codes and
    counts are found by comparing faiss's files of an empty index and of one document.

    Parameters
    ----------
    quantizer
        Rotation and centroids.
    documents
        Number of documents N.

    Raises
    ------
    IndexFolderError
        If this version of faiss has another file layout.
    """
    import faiss

    code = np.zeros((1, quantizer.m), dtype=np.uint8)
    empty = faiss.serialize_index(to_faiss(quantizer, code[:0])).tobytes()
    one = faiss.serialize_index(to_faiss(quantizer, code)).tobytes()
    differing = [i for i in range(len(empty)) if empty[i] != one[i]][:3]
    size = quantizer.bytes_per_document
    if len(differing) != 3 or one[differing[2]] != size or len(one) != len(empty) + size:
        raise IndexFolderError(f"faiss {faiss.__version__} lays an IndexPQ out in an unknown way; use 1.8 to 1.15")
    head = bytearray(empty[: differing[2] + 8])
    for position, value in zip(differing, (documents, documents, documents * size), strict=True):
        head[position : position + 8] = value.to_bytes(8, "little")
    return bytes(head), empty[differing[2] + 8 :]

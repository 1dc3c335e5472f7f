"""Reading a product quantizer and codes out of faiss indexes that we did not write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import ConversionError
from pyserini_jpq.index.faiss_format import chain_quantizer, of_widened
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer
from pyserini_jpq.trust.faiss_file import faiss_layout

Ids = NDArray[np.int64]

_KINDS = (
    "a product quantizer (IndexPQ), or one with a single inverted list (IVF1,PQ), behind a rotation (OPQ) or without"
)


@dataclass(frozen=True)
class ForeignIndex:
    """The parts of a faiss index that a JPQ index can represent.

    Attributes
    ----------
    quantizer : ProductQuantizer
        Rotation, centroids and biases; the coarse centroid that codes were relative to is added to the centroids.
    codes : numpy.ndarray
        [N, M] uint8, in the order of the ids; a view into `index` where no order had to be made.
    ids : numpy.ndarray
        [N] int64, rising: faiss's own numbers of the documents.
    inner_product : bool
        Whether it ranks by inner product; else by L2 distance.
    folded : bool
        Whether a coarse centroid other than zero was added to the centroids.
    file : pathlib.Path
        Where it was read from.
    index
        The index as faiss read it; owns the memory of the codes.
    """

    quantizer: ProductQuantizer
    codes: Codes
    ids: Ids
    inner_product: bool
    folded: bool
    file: Path
    index: Any


def read_foreign(path: Path) -> ForeignIndex:
    """Read a faiss index.

    Parameters
    ----------
    path
        An index file, or the folder that `pyserini.index.faiss` writes.

    Raises
    ------
    ConversionError
        If it is of a type that JPQ cannot represent.
    IndexFolderError
        If faiss cannot read it.
    """
    import faiss

    path = path / "index" if path.is_dir() else path
    if not path.is_file():
        raise ConversionError(
            f"{path} does not exist; --index takes an index file of faiss's, or a folder that holds one"
        )
    layout = faiss_layout(path)
    if not layout.known:
        raise ConversionError(f"{path} is a {layout.kind}; what can be converted is {_KINDS}")
    whole = read_faiss(path)
    rotation, core, ids, biased = _unwrap(whole, path)
    _check_core(core, path)
    pq = core.pq
    centroids = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub).copy()
    folded = False
    if isinstance(core, faiss.IndexIVFPQ):
        codes, own = _lists(core, path)
        if core.by_residual:
            coarse = core.quantizer.reconstruct(0)
            folded = bool(coarse.any())
            centroids += coarse.reshape(pq.M, 1, pq.dsub)
    else:
        size = core.ntotal * pq.code_size
        codes, own = faiss.rev_swig_ptr(core.codes.data(), size).reshape(core.ntotal, -1), np.arange(core.ntotal)
    ids = own if ids is None else ids[own]
    codes, ids = _in_order(codes, ids, path)
    inner_product = core.metric_type == faiss.METRIC_INNER_PRODUCT
    return ForeignIndex(of_widened(rotation, centroids, biased), codes, ids, inner_product, folded, path, whole)


def _unwrap(index: Any, path: Path) -> tuple[Floats, Any, Ids | None, bool]:
    """Return the rotation, the index behind it, the ids of an `IndexIDMap`, if any, and whether it has biases."""
    import faiss

    index = faiss.downcast_index(index)
    rotation = np.eye(index.d, dtype=np.float32)
    ids: Ids | None = None
    biased = False
    while isinstance(index, faiss.IndexPreTransform | faiss.IndexIDMap):
        if isinstance(index, faiss.IndexIDMap):
            mapped: Ids = faiss.vector_to_array(index.id_map)
            ids = mapped if ids is None else ids[mapped]
        else:
            ours = chain_quantizer(index)
            if ours is None:
                chain: Any = index.chain
                for i in range(chain.size()):
                    rotation = _matrix(faiss.downcast_VectorTransform(chain.at(i)), path) @ rotation
            else:
                _check_rotation(ours.rotation, "LinearTransform", path)
                rotation = ours.rotation @ rotation
                biased = ours.biases is not None
        index = faiss.downcast_index(index.index)
    return np.ascontiguousarray(rotation), index, ids, biased


def _matrix(transform: Any, path: Path) -> Floats:
    import faiss

    name = type(transform).__name__
    if not isinstance(transform, faiss.LinearTransform):
        raise ConversionError(f"{path} changes vectors by a {name} first; a JPQ index has a rotation alone")
    if transform.d_in != transform.d_out:
        raise ConversionError(
            f"{path} takes {transform.d_in} dimensions down to {transform.d_out}; a JPQ index has a rotation alone, "
            "which keeps them"
        )
    matrix: Floats = faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)
    if transform.have_bias and faiss.vector_to_array(transform.b).any():
        matrix = np.zeros_like(matrix)  # shifted, so no rotation
    _check_rotation(matrix, name, path)
    return matrix


def _check_rotation(matrix: Floats, name: str, path: Path) -> None:
    if not np.allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-3):
        raise ConversionError(
            f"{path} changes vectors by a {name} that is no rotation; a JPQ index has a rotation alone"
        )


def _check_core(core: Any, path: Path) -> None:
    import faiss

    if not isinstance(core, faiss.IndexPQ | faiss.IndexIVFPQ):
        raise ConversionError(f"{path} is a {type(core).__name__}; what can be converted is {_KINDS}")
    if core.pq.nbits != 8:
        raise ConversionError(f"{path} has codes of {core.pq.nbits} bits; convert reads codes of 8 bits")
    if not core.is_trained or not core.ntotal:
        raise ConversionError(f"{path} holds no document; add the documents with faiss first")
    if core.metric_type not in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
        raise ConversionError(f"{path} has metric {core.metric_type}; only inner product and L2 are known")


def _lists(ivf: Any, path: Path) -> tuple[Codes, Ids]:
    """Return codes and ids of all inverted lists, concatenated."""
    import faiss

    if ivf.nlist > 1 and ivf.by_residual:
        raise ConversionError(
            f"{path} has {ivf.nlist} inverted lists, each with a centroid that its codes are relative to; a JPQ index "
            "has one table of centroids for all documents: build the index with one list (IVF1), or none"
        )
    codes, ids = [], []
    for number in range(ivf.nlist):
        if size := ivf.invlists.list_size(number):
            part = faiss.rev_swig_ptr(ivf.invlists.get_codes(number), size * ivf.code_size)
            codes.append(part.reshape(size, -1))
            ids.append(faiss.rev_swig_ptr(ivf.invlists.get_ids(number), size))
    return (codes[0], ids[0]) if len(codes) == 1 else (np.concatenate(codes), np.concatenate(ids))


def _in_order(codes: Codes, ids: Ids, path: Path) -> tuple[Codes, Ids]:
    """Sort by id; raise where an id is negative or comes twice."""
    steps = np.diff(ids)
    if (steps <= 0).any():
        order = np.argsort(ids, kind="stable")
        codes, ids = codes[order], ids[order]
        steps = np.diff(ids)
    if ids[0] < 0 or (steps == 0).any():
        wrong = ids[0] if ids[0] < 0 else ids[:-1][steps == 0][0]
        raise ConversionError(
            f"{path} holds the id {wrong} {'twice' if wrong >= 0 else '(below 0)'}; every document needs its own"
        )
    return codes, ids.copy()

"""The file `ivf` of an index folder: its inverted lists."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.faiss_format import chain_quantizer, quantizer_of, stored_codes
from pyserini_jpq.index.faiss_io import read_faiss, write_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf import build_ivf, by_bytes, make_again
from pyserini_jpq.index.manifest import IVF
from pyserini_jpq.quantizer import Codes, ProductQuantizer

_SAMPLE = 32


def write_ivf(index: IndexFolder, lists: int) -> Path:
    """Build inverted lists and write or replace their file.

    Parameters
    ----------
    index
        The index.
    lists
        Number of lists.

    Returns
    -------
    pathlib.Path
        The file: the codes by lists, and 8 bytes per document.

    Raises
    ------
    IndexFolderError
        If there are more lists than documents, or another command has changed the index meanwhile.
    """
    with index.adding(IVF) as partial:
        write_faiss(build_ivf(index.read(mapped=True), index.path, lists), partial)
    return index.path / IVF


def read_ivf(index: IndexFolder, faiss_index: Any) -> Any:
    """Open the inverted lists of an index, memory-mapped.

    Parameters
    ----------
    index
        The index.
    faiss_index
        Its faiss index.

    Returns
    -------
    Any
        The faiss index of `build_ivf`, or None if there is no file.

    Raises
    ------
    IndexFolderError
        If the file is damaged, or of another index.
    """
    import faiss

    path = index.path / IVF
    if not path.is_file():
        return None
    again = make_again(index.path)
    if IVF in index.manifest.files:
        index.check_file(IVF, again)
    try:
        found = read_faiss(path, mapped=True)
        inner: Any = faiss.downcast_index(found.index)
        own = chain_quantizer(found)
    except (IndexFolderError, AttributeError):
        raise IndexFolderError(f"the lists in {path} are damaged; {again}") from None
    quantizer = quantizer_of(faiss_index, index.path)
    if not isinstance(inner, faiss.IndexIVFPQ):
        raise IndexFolderError(f"{path} holds no inverted lists, but {type(inner).__name__}; {again}")
    if quantizer.bits == 4 and inner.pq.nbits == 8:
        quantizer = by_bytes(quantizer)
    if own is None or found.ntotal != faiss_index.ntotal or not _alike(own, quantizer):
        raise IndexFolderError(f"the lists in {path} were made of another index; {again}")
    if not _hold(inner, stored_codes(faiss_index, index.path)):
        raise IndexFolderError(f"the lists in {path} hold other codes than the index; {again}")
    return found


def _alike(one: ProductQuantizer, other: ProductQuantizer) -> bool:
    biases = [np.zeros(0) if each.biases is None else each.biases for each in (one, other)]
    pairs = ((one.rotation, other.rotation), (one.centroids, other.centroids), biases)
    return all(np.array_equal(*pair) for pair in pairs)


def _hold(inner: Any, codes: Codes) -> bool:
    """Return whether the first documents of some lists have the same codes in the index."""
    import faiss

    kept = inner.invlists
    for number in np.unique(np.linspace(0, inner.nlist - 1, _SAMPLE).astype(np.int64)).tolist():
        if kept.list_size(number) == 0:
            continue
        row = int(faiss.rev_swig_ptr(kept.get_ids(number), 1)[0])
        listed = faiss.rev_swig_ptr(kept.get_codes(number), codes.shape[1])
        if not 0 <= row < len(codes) or not np.array_equal(listed, codes[row]):
            return False
    return True

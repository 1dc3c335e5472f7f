"""The inverted lists of an index on disk: a file of its own in the index folder, which all else leaves aside."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.faiss_format import quantizer_of, rotation_before, stored_codes, widened
from pyserini_jpq.index.faiss_io import read_faiss, write_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf import build_ivf, make_again, paired
from pyserini_jpq.index.manifest import IVF
from pyserini_jpq.quantizer import Codes

_SAMPLE = 32


def write_ivf(index: IndexFolder, lists: int) -> Path:
    """Build lists and keep them beside the index, in place of those that are there.

    Parameters
    ----------
    index
        The index; its own files stay as they are.
    lists
        Number of lists.

    Returns
    -------
    pathlib.Path
        The file that was written: the codes once more, by lists, and 8 bytes a document.

    Raises
    ------
    IndexFolderError
        If there are more lists than documents, or another command has changed the index meanwhile.
    """
    with index.adding(IVF) as partial:
        write_faiss(build_ivf(index.read(mapped=True), index.path, lists), partial)
    return index.path / IVF


def read_ivf(index: IndexFolder, whole: Any) -> Any:
    """Open the lists beside an index, their codes mapped into memory.

    Parameters
    ----------
    index
        The index.
    whole
        Its faiss index.

    Returns
    -------
    Any
        What `build_ivf` made, or None where there is nothing.

    Raises
    ------
    IndexFolderError
        If they are damaged, or were made of another index.
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
        centroids = faiss.vector_to_array(inner.pq.centroids)
        rotation = faiss.vector_to_array(rotation_before(found).A)
    except (IndexFolderError, AttributeError):
        raise IndexFolderError(f"the lists in {path} are damaged; {again}") from None
    quantizer = quantizer_of(whole, index.path)
    if not isinstance(inner, faiss.IndexIVFPQ):
        raise IndexFolderError(f"{path} holds no inverted lists, but {type(inner).__name__}; {again}")
    alike = found.ntotal == whole.ntotal and np.array_equal(rotation, quantizer.rotation.ravel())
    if quantizer.bits == 4 and inner.pq.nbits == 8:
        quantizer = paired(quantizer)
    if not alike or not np.array_equal(centroids, widened(quantizer).ravel()):
        raise IndexFolderError(f"the lists in {path} were made of another index; {again}")
    if not _hold(inner, stored_codes(whole, index.path)):
        raise IndexFolderError(f"the lists in {path} hold other codes than the index; {again}")
    return found


def _hold(inner: Any, codes: Codes) -> bool:
    """Tell whether the first documents of some lists have their codes in the index."""
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

"""Export of an index folder to one file: in the authors' format, or plain faiss."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.errors import ConversionError, OutputError
from pyserini_jpq.files import beside, move_into_place, refuse_existing_file
from pyserini_jpq.index.assign import assigning_quantizer
from pyserini_jpq.index.faiss_format import from_faiss, set_centroids, to_faiss, transformed, widened
from pyserini_jpq.index.faiss_io import write_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import Codes, ProductQuantizer

_BLOCK = 1 << 16


def export_faiss(index: IndexFolder, output: Path, initial: bool = False, overwrite: bool = False) -> None:
    """Write an index as one faiss file: a rotation, then an IndexPQ with inner product.

    Parameters
    ----------
    index
        The index.
    output
        The file to write.
    initial
        Write the centroids that codes were assigned with instead of the trained ones.
    overwrite
        Replace an existing output.

    Raises
    ------
    OutputError
        If `output` exists and `overwrite` is false.
    IndexFolderError
        If the initial centroids are wanted and not known.
    """
    refuse_existing_file(output, overwrite)
    quantizer, codes, _whole = _read(index, initial)
    _write(to_faiss(quantizer, codes), output)


def export_jpq(index: IndexFolder, output: Path, initial: bool = False, overwrite: bool = False) -> None:
    """Write an index in the authors' format: `OPQ{M},IVF1,PQ{M}x8`, coarse centroid zero, ids the row offsets.

    Parameters and errors are those of `export_faiss`; additive codes, and codes of 4 bits, are a `ConversionError`.
    """
    refuse_existing_file(output, overwrite)
    if index.manifest.bits != 8:
        raise ConversionError(
            f"{index.path} has codes of {index.manifest.bits} bits; the authors' format has 8, so export it to faiss"
        )
    quantizer, codes, _whole = _read(index, initial)
    if quantizer.additive:
        raise ConversionError(f"{index.path} has additive codes; the authors' format has none, so export it to faiss")
    _write(_authors_index(quantizer, codes), output)


def _read(index: IndexFolder, initial: bool) -> tuple[ProductQuantizer, Codes, Any]:
    """Return quantizer, codes, and the faiss index that owns the memory of the codes."""
    if initial and index.manifest.documents_mapped:
        raise ConversionError(
            f"the documents of {index.path} were mapped before their codes were assigned, which no such file says; "
            "leave --initial out, or send the index to the hub"
        )
    whole = index.read()
    quantizer, codes = from_faiss(whole, index.path)
    return (assigning_quantizer(index, quantizer) if initial else quantizer), codes, whole


def _authors_index(quantizer: ProductQuantizer, codes: Codes) -> Any:
    import faiss

    centroids = widened(quantizer)
    d = centroids.shape[0] * centroids.shape[2]
    coarse = faiss.IndexFlatIP(d)
    coarse.add(np.zeros((1, d), dtype=np.float32))
    ivf: Any = faiss.IndexIVFPQ(coarse, d, 1, quantizer.m, 8, faiss.METRIC_INNER_PRODUCT)
    set_centroids(ivf, centroids)
    ivf.is_trained = True
    for start in range(0, len(codes), _BLOCK):
        part = np.ascontiguousarray(codes[start : start + _BLOCK])
        ids = np.arange(start, start + len(part), dtype=np.int64)
        ivf.invlists.add_entries(0, len(part), faiss.swig_ptr(ids), faiss.swig_ptr(part))
    ivf.ntotal = len(codes)
    whole = transformed(quantizer, ivf)
    whole.referenced_objects.append(coarse)
    return whole


def _write(index: Any, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    with beside(output) as partial:
        try:
            write_faiss(index, partial)
        except OSError as problem:
            raise OutputError(f"{output} cannot be written: {problem.strerror}; free some space") from problem
        move_into_place(partial, output)

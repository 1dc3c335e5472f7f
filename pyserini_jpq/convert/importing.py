"""Import of an index in the authors' format, or of plain faiss, into an index folder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.convert.foreign import ForeignIndex, read_foreign
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import ConversionError
from pyserini_jpq.files import refuse_existing, save_array
from pyserini_jpq.index.encoders import UNKNOWN
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import INITIAL_CENTROIDS, MANIFEST, Manifest
from pyserini_jpq.index.writing import finish, kept, preparing, write_codes, write_docids
from pyserini_jpq.quantizer import Floats


@dataclasses.dataclass(frozen=True)
class KnownEncoder:
    """An encoder of an imported index, and the SHA-256 of its weights (`Encoder.weights_sha256`) if they are known."""

    source: EncoderSource
    sha256: str | None


def know_encoder(source: EncoderSource) -> KnownEncoder:
    """Load an encoder to hash its weights.

    Raises
    ------
    EncoderError
        If it cannot be loaded.
    """
    return KnownEncoder(source, source.load().weights_sha256())


def import_jpq(
    index_file: Path | ForeignIndex,
    output: Path,
    docids: Sequence[str] | None = None,
    query_encoder: KnownEncoder | None = None,
    document_encoder: KnownEncoder | None = None,
    initial_index: Path | None = None,
    overwrite: bool = False,
    blocks: bool = True,
) -> IndexFolder:
    """Make an index folder of a file in the authors' format, `OPQ{M},IVF1,PQ{M}x8`.

    An index whose coarse centroid is zero counts as trained: the authors' training adds the coarse centroid to the
    others and leaves zero. Any other index is one that training starts from: its centroids, with the coarse one added,
    are the initial ones.

    Parameters
    ----------
    index_file
        The file that the authors publish or their scripts write, or its content, read before.
    output
        The index folder to write.
    docids
        [N] docids in the order of the ids in the file (`docids_of` makes them); the ids themselves by default.
    query_encoder
        The encoder that was trained with the index; without it, search needs one by name.
    document_encoder
        The encoder of the documents, if it is known.
    initial_index
        The index that training started from; its centroids assign the codes of documents to append.
    overwrite
        Replace an existing output.
    blocks
        Store the codes a second time in the scan's layout, for a faster search.

    Returns
    -------
    IndexFolder
        The index, opened.

    Raises
    ------
    ConversionError
        If a file is of a type that JPQ cannot represent, or the files do not belong together.
    OutputError
        If `output` exists and `overwrite` is false.
    """
    refuse_existing(output, overwrite, MANIFEST)
    foreign = index_file if isinstance(index_file, ForeignIndex) else read_foreign(index_file)
    if not foreign.inner_product:
        raise ConversionError(f"{foreign.file} ranks by L2 distance; an index of the authors' ranks by inner product")
    initial = foreign.quantizer.centroids if foreign.folded else None
    if initial_index is not None:
        initial = _initial_centroids(foreign, initial_index)
    manifest = dataclasses.replace(
        _manifest(foreign, query_encoder, document_encoder, output),
        training=None if foreign.folded else {"imported_from": foreign.file.name},
        initial_centroids_known=initial is not None,
    )
    return _write(foreign, docids, manifest, initial, output, blocks)


def import_faiss(
    index_file: Path | ForeignIndex,
    output: Path,
    docids: Sequence[str] | None = None,
    encoder: KnownEncoder | None = None,
    any_metric: bool = False,
    overwrite: bool = False,
    blocks: bool = True,
) -> IndexFolder:
    """Make an index folder of an OPQ or PQ index that faiss or `pyserini.index.faiss` made: a start for training.

    Parameters, result and errors are those of `import_jpq`, except:

    Parameters
    ----------
    encoder
        The encoder of documents and queries; training needs it.
    any_metric
        Accept an index that ranks by L2 distance, whose rankings change; else that is a `ConversionError`.
    """
    refuse_existing(output, overwrite, MANIFEST)
    foreign = index_file if isinstance(index_file, ForeignIndex) else read_foreign(index_file)
    if not (foreign.inner_product or any_metric):
        raise ConversionError(
            f"{foreign.file} ranks by L2 distance, a JPQ index by inner product, so rankings would change unless all "
            "documents have the same length; give --any-metric to take its rotation, centroids and codes all the same"
        )
    manifest = _manifest(foreign, encoder, encoder, output)
    return _write(foreign, docids, manifest, foreign.quantizer.centroids, output, blocks)


def _initial_centroids(foreign: ForeignIndex, initial_index: Path) -> Floats:
    """Return the centroids of the index that training started from; it has the same rotation and codes."""
    before = read_foreign(initial_index)
    same = (
        np.array_equal(before.quantizer.rotation, foreign.quantizer.rotation)
        and np.array_equal(before.ids, foreign.ids)
        and np.array_equal(before.codes, foreign.codes)
    )
    if not same:
        raise ConversionError(
            f"{initial_index} is not the index that training started from: rotation, ids or codes are not those of "
            f"{foreign.file}, which training leaves as they are"
        )
    return before.quantizer.centroids


def _manifest(
    foreign: ForeignIndex, query: KnownEncoder | None, document: KnownEncoder | None, output: Path
) -> Manifest:
    quantizer = foreign.quantizer
    return Manifest(
        documents=len(foreign.ids),
        dimension=quantizer.dimension,
        m=quantizer.m,
        bits=quantizer.bits,
        bytes_per_document=quantizer.bytes_per_document,
        # Only the query encoder's folder is followed when the index is used, and kept right when it is moved.
        document_encoder={**_entry(document, output), "folder": None},
        query_encoder=_entry(query, output),
    )


def _entry(encoder: KnownEncoder | None, output: Path) -> dict[str, Any]:
    return encoder.source.entry(encoder.sha256, output) if encoder else dict(UNKNOWN)


def _write(
    foreign: ForeignIndex,
    docids: Sequence[str] | None,
    manifest: Manifest,
    initial: Floats | None,
    output: Path,
    blocks: bool,
) -> IndexFolder:
    docids = [str(i) for i in foreign.ids.tolist()] if docids is None else docids
    if len(docids) != len(foreign.ids):
        raise ConversionError(f"{len(docids)} docids for the {len(foreign.ids)} documents of {foreign.file}")
    stat = foreign.file.stat()
    work = {"import": [str(foreign.file.resolve()), stat.st_size, stat.st_mtime_ns]}
    rows = np.arange(len(foreign.ids))
    with preparing(output, work) as folder:
        write_codes(folder, foreign.quantizer, len(rows), kept(foreign.codes, rows), "copying codes")
        write_docids(folder, docids)
        save_array(folder / INITIAL_CENTROIDS, foreign.quantizer.centroids if initial is None else initial)
        finish(folder, manifest, output, blocks)
    return IndexFolder(output)

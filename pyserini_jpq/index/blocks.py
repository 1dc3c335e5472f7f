"""The file `blocks` of an index folder: a copy of the codes in the layout of the scan."""

import struct
from pathlib import Path

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import regular, writing
from pyserini_jpq.index.faiss_format import stored_codes
from pyserini_jpq.index.folder import IndexFolder, without_blocks
from pyserini_jpq.index.manifest import BLOCKS
from pyserini_jpq.quantizer import Codes
from pyserini_jpq.scan.layout import GROUP, GROUPS, STRIP, Blocks, bytes_of, in_blocks

HEADER = 4096
"""Bytes before the codes: one page, so that the mapped codes are aligned to pages."""

_FORMAT = "<8sIIIIQI"
_MAGIC, _VERSION = b"JPQBLOCK", 2
_AT_ONCE = 8 * GROUPS * GROUP
_SAMPLE = 32


def write_blocks(path: Path, codes: Codes) -> None:
    """Write codes in blocks of 8,192 documents, after a header of one page; memory holds 8 blocks.

    Parameters
    ----------
    path
        The file.
    codes
        [N, bytes of a document] uint8, as faiss stores them: codes of 4 bits are packed.
    """
    with writing(path), open(path, "wb") as file:
        file.write(_header(codes))
        for start in range(0, len(codes), _AT_ONCE):
            file.write(in_blocks(codes[start : start + _AT_ONCE]).data.data)


def keep_blocks(index: IndexFolder, keep: bool) -> None:
    """Write or replace the blocks of an index, or remove them if `keep` is false; raises as `IndexFolder.adding`."""
    if not keep:
        index.drop(BLOCKS)
        return
    with index.adding(BLOCKS) as partial:
        faiss_index = index.read(mapped=True)
        write_blocks(partial, stored_codes(faiss_index, index.path))


def open_blocks(path: Path, codes: Codes) -> Blocks:
    """Memory-map a file of blocks.

    Parameters
    ----------
    path
        A file of `write_blocks`.
    codes
        [N, bytes of a document] uint8, the codes of its index as faiss stores them; a sample is compared.

    Returns
    -------
    Blocks
        The same codes, read-only.

    Raises
    ------
    IndexFolderError
        If the file is damaged, of another version, or of another index.
    """
    documents, m = codes.shape
    size = bytes_of(documents, m)
    with open(path, "rb", opener=regular(IndexFolderError)) as file:
        head = file.read(HEADER)
    if head != _header(codes) or path.stat().st_size != HEADER + size:
        raise _refused(path, f"is not of {documents} documents of {m} bytes, of another version, or damaged")
    if not documents:
        return Blocks(np.empty(0, dtype=np.uint8), documents, m)
    # A plain array, as views of a memmap are slow to make.
    blocks = Blocks(np.asarray(np.memmap(path, np.uint8, "r", HEADER, size)), documents, m)
    rows = np.unique(np.linspace(0, documents - 1, _SAMPLE).astype(np.int64))
    if not np.array_equal(blocks.of(rows), codes[rows]):
        raise _refused(path, "holds other codes than the index")
    return blocks


def _header(codes: Codes) -> bytes:
    documents, m = codes.shape
    return struct.pack(_FORMAT, _MAGIC, _VERSION, GROUP, GROUPS, STRIP, documents, m).ljust(HEADER, b"\0")


def _refused(path: Path, reason: str) -> IndexFolderError:
    return IndexFolderError(f"{path} {reason}; {without_blocks(path.parent)}")

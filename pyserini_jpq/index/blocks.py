"""The file `blocks` of an index folder: the codes once more, laid out as the scan reads them fastest."""

import struct
from pathlib import Path

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import writing
from pyserini_jpq.index.faiss_format import stored_codes
from pyserini_jpq.index.folder import IndexFolder, without_blocks
from pyserini_jpq.index.manifest import BLOCKS
from pyserini_jpq.quantizer import Codes
from pyserini_jpq.scan.layout import GROUP, GROUPS, STRIP, Blocks, bytes_of, in_blocks

HEADER = 4096
"""Bytes before the codes: a page, so that they begin on one when the file is mapped."""

_FORMAT = "<8sIIIIQI"
_MAGIC, _VERSION = b"JPQBLOCK", 2
_AT_ONCE = 8 * GROUPS * GROUP
_SAMPLE = 32


def write_blocks(path: Path, codes: Codes) -> None:
    """Write codes as blocks of 8,192 documents, after a page that says how many; memory holds 8 blocks.

    Parameters
    ----------
    path
        The file.
    codes
        [N, M] uint8, as faiss keeps them: those of 4 bits packed, and M is the bytes of a document.
    """
    with writing(path), open(path, "wb") as file:
        file.write(_header(codes))
        for start in range(0, len(codes), _AT_ONCE):
            file.write(in_blocks(codes[start : start + _AT_ONCE]).data.data)


def keep_blocks(index: IndexFolder, keep: bool) -> None:
    """Write the file of blocks of an index that is there, in place of one that it has; or remove it.

    Parameters
    ----------
    index
        The index; its other files stay as they are.
    keep
        Whether it shall have blocks.

    Raises
    ------
    IndexFolderError
        If another command has changed the index meanwhile.
    OutputError
        If another process writes the index.
    """
    if not keep:
        index.drop(BLOCKS)
        return
    with index.adding(BLOCKS) as partial:
        whole = index.read(mapped=True)
        write_blocks(partial, stored_codes(whole, index.path))


def open_blocks(path: Path, codes: Codes) -> Blocks:
    """Map the blocks of a file into memory.

    Parameters
    ----------
    path
        What `write_blocks` wrote.
    codes
        [N, M] uint8: the codes of the index that it lies beside, as faiss keeps them. Some documents are compared.

    Returns
    -------
    Blocks
        The same codes, for reading only.

    Raises
    ------
    IndexFolderError
        If the file is damaged, of another version, or of another index.
    """
    documents, m = codes.shape
    size = bytes_of(documents, m)
    with open(path, "rb") as file:
        head = file.read(HEADER)
    if head != _header(codes) or path.stat().st_size != HEADER + size:
        raise _refused(path, f"is not of {documents} documents of {m} bytes, of another version, or damaged")
    if not documents:
        return Blocks(np.empty(0, dtype=np.uint8), documents, m)
    # As an array of its own, since each view of a memmap is made slowly.
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

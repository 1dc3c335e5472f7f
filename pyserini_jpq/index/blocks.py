"""The file `blocks` of an index folder: the codes once more, laid out as the scan reads them fastest."""

import struct
from pathlib import Path

import numpy as np

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import writing
from pyserini_jpq.index.folder import WITHOUT_BLOCKS
from pyserini_jpq.quantizer import Codes
from pyserini_jpq.scan.groups import GROUP, grouped, groups_of

HEADER = 4096
"""Bytes before the codes: a page, so that they begin on one when the file is mapped."""

_FORMAT = "<8sIIQI"
_MAGIC, _VERSION = b"JPQBLOCK", 1
_AT_ONCE = 128
_SAMPLE = 32


def write_blocks(path: Path, codes: Codes) -> None:
    """Write codes as groups of 512 documents, after a page that says how many; memory holds 128 groups.

    Parameters
    ----------
    path
        The file.
    codes
        [N, M] uint8.
    """
    with writing(path), open(path, "wb") as file:
        file.write(_header(codes))
        for start in range(0, len(codes), _AT_ONCE * GROUP):
            file.write(grouped(codes[start : start + _AT_ONCE * GROUP]).data)


def open_blocks(path: Path, codes: Codes) -> Codes:
    """Map the groups of a file into memory.

    Parameters
    ----------
    path
        What `write_blocks` wrote.
    codes
        [N, M] uint8: the codes of the index that it lies beside. Some documents are compared.

    Returns
    -------
    numpy.ndarray
        [ceil(N / 512), M, 512] uint8, for reading only; see `grouped`.

    Raises
    ------
    IndexFolderError
        If the file is damaged, of another version, or of another index.
    """
    documents, m = codes.shape
    shape = (groups_of(documents), m, GROUP)
    with open(path, "rb") as file:
        head = file.read(HEADER)
    if head != _header(codes) or path.stat().st_size != HEADER + np.prod(shape, dtype=np.int64):
        raise _refused(path, f"is not of {documents} documents of {m} bytes, or damaged")
    if not documents:
        return np.empty(shape, dtype=np.uint8)
    # As an array of its own, since each view of a memmap is made slowly.
    groups: Codes = np.asarray(np.memmap(path, np.uint8, "r", HEADER, shape))
    rows = np.unique(np.linspace(0, documents - 1, _SAMPLE).astype(np.int64))
    if not np.array_equal(groups[rows // GROUP, :, rows % GROUP], codes[rows]):
        raise _refused(path, "holds other codes than the index")
    return groups


def _header(codes: Codes) -> bytes:
    documents, m = codes.shape
    return struct.pack(_FORMAT, _MAGIC, _VERSION, GROUP, documents, m).ljust(HEADER, b"\0")


def _refused(path: Path, reason: str) -> IndexFolderError:
    return IndexFolderError(f"{path} {reason}; {WITHOUT_BLOCKS}")

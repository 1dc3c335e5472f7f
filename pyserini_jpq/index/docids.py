"""The docids of an index, read from its file as they are asked for: no Python string for each of millions."""

import mmap
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from pyserini_jpq.errors import IndexFolderError

_STEP = 16
"""Every how many lines an offset is kept: 4 MB for 8.8 million docids."""

_BLOCK = 4 << 20


class Docids(Sequence[str]):
    """The lines of a docid file, which stays on disk.

    Parameters
    ----------
    path
        One docid a line, UTF-8.
    documents
        How many there must be.

    Raises
    ------
    IndexFolderError
        If the file holds another number of lines.
    """

    def __init__(self, path: Path, documents: int) -> None:
        self._length, self._starts = _lines(path)
        if self._length != documents:
            raise IndexFolderError(
                f"{path} holds {self._length} docids for {documents} documents; make the index again"
            )
        with open(path, "rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if documents else b""

    def __len__(self) -> int:
        """Return the number of docids."""
        return self._length

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        """Return the docid of a row, or those of several."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(self._length))]
        row = operator.index(row)
        row += self._length if row < 0 else 0
        if not 0 <= row < self._length:
            raise IndexError(f"row {row} of {self._length}")
        part = self._part(row // _STEP)
        return part[row % _STEP]

    def __iter__(self) -> Iterator[str]:
        """Yield all docids in row order."""
        for i in range(len(self._starts) - 1):
            yield from self._part(i)

    def _part(self, i: int) -> list[str]:
        text = self._text[int(self._starts[i]) : int(self._starts[i + 1])]
        return text.decode("utf-8").removesuffix("\n").split("\n")


def _lines(path: Path) -> tuple[int, np.ndarray]:
    """Count the lines of a file, and find where every so-manieth begins, and the last ends: [lines / 16 + 1] int64."""
    starts, count, position, last = [np.zeros(1, dtype=np.int64)], 0, 0, b"\n"
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
            first = -(count + 1) % _STEP  # the line whose end begins the next part
            starts.append(position + ends[first::_STEP] + 1)
            count += len(ends)
            position += len(block)
            last = block[-1:]
    count += last != b"\n"
    offsets = np.concatenate(starts)
    if offsets[-1] != position:
        offsets = np.append(offsets, position)
    return count, offsets

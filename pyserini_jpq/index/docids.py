"""The docids of an index, read from their file on access, as millions of Python strings would fill the memory."""

import mmap
import operator
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.data.ids import check_ids
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import regular

_MAPPED = 16 << 20
"""Largest file that is memory-mapped, with the offset of every docid: a hit then takes a quarter of the time, which
matters only for indexes this small. A larger mapped file would soon count as resident as a whole."""

_STEP = 16
"""Lines per stored offset of a larger file: 2 MB for 8.8 million docids."""

_BLOCK = 1 << 18

_APART = 1 << 14
"""Bytes that are read in the time that another call of the system takes."""


class Lines(Sequence[str], ABC):
    """The docids of an index or of a shard."""

    @abstractmethod
    def at(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the docids of rows, [n] int64, not negative; faster than one by one."""

    @abstractmethod
    def checksum(self) -> int:
        """Return a CRC-32 of all docids."""


class Docids(Lines):
    """The lines of a docid file on disk; threads can share it.

    Docids are checked when they are read, not on opening: run files need single words.

    A pickled object reopens its file, and refuses a changed one. Copying returns the object itself.

    Parameters
    ----------
    path
        File of one docid per line, UTF-8.
    documents
        Expected number of docids.

    Raises
    ------
    IndexFolderError
        If the file holds another number of lines; later, if a docid that is read is no single word.
    """

    def __init__(self, path: Path, documents: int) -> None:
        self._path = path
        small = path.stat().st_size <= _MAPPED
        self._step = 1 if small else _STEP
        self._length, self._starts = _lines(path, self._step)
        if self._length != documents:
            raise IndexFolderError(
                f"{path} holds {self._length} docids for {documents} documents; make the index again"
            )
        self._text = _reader(path, small)

    def __len__(self) -> int:
        """Return the number of docids."""
        return self._length

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        """Return the docid of a row, or those of a slice of rows."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(self._length))]
        row = operator.index(row)
        row += self._length if row < 0 else 0
        if not 0 <= row < self._length:
            raise IndexError(f"row {row} of {self._length}")
        return self._part(row // self._step)[row % self._step]

    def __iter__(self) -> Iterator[str]:
        """Yield all docids in row order."""
        for i in range(len(self._starts) - 1):
            yield from self._part(i)

    def at(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the docids of rows, [n] int64, not negative; faster than one by one."""
        try:
            found = self._at(rows)
        except (UnicodeDecodeError, IndexError) as problem:
            raise IndexFolderError(f"{self._path} does not fit the index ({problem}); make the index again") from None
        check_ids(found, str(self._path), IndexFolderError)
        return found

    def _at(self, rows: NDArray[np.int64]) -> list[str]:
        parts = rows // self._step
        starts, ends = self._starts[parts], self._starts[parts + 1] - 1
        if self._step == 1:
            text = self._text
            return [text(start, end).decode() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        found, lines = self._texts(starts, ends), (rows % self._step).tolist()
        return [text.split(b"\n", line + 1)[line].decode() for text, line in zip(found, lines, strict=True)]

    def _texts(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
        """Return the bytes between offsets, [n] int64 each; what lies close together in the file is read at once."""
        order = np.argsort(starts, kind="stable")
        first, last, positions = starts[order].tolist(), ends[order].tolist(), order.tolist()
        apart = (np.diff(starts[order]) > _APART) | (np.diff(starts[order] // _BLOCK) > 0)
        found = [b""] * len(first)
        for begin, end in pairwise([0, *(np.flatnonzero(apart) + 1).tolist(), len(first)] if first else []):
            offset = first[begin]
            text = self._text(offset, last[end - 1])
            for i in range(begin, end):
                found[positions[i]] = text[first[i] - offset : last[i] - offset]
        return found

    def checksum(self) -> int:
        """Return a CRC-32 of all docids."""
        value = 0
        for start in range(0, int(self._starts[-1]), _BLOCK):
            value = zlib.crc32(self._text(start, min(start + _BLOCK, int(self._starts[-1]))), value)
        return value

    def __deepcopy__(self, memo: dict[int, Any]) -> "Docids":
        """Return the object itself, as it is immutable."""
        return self

    def __reduce__(self) -> tuple[Callable[..., "Docids"], tuple[Path, int, int]]:
        """Pickle path and checksum of the file."""
        return _reopened, (self._path.resolve(), self._length, self.checksum())

    def _part(self, i: int) -> list[str]:
        text = self._text(int(self._starts[i]), int(self._starts[i + 1]) - 1)
        try:
            found = text.decode().split("\n")
        except UnicodeDecodeError as problem:
            raise IndexFolderError(f"{self._path} is not UTF-8 ({problem}); make the index again") from None
        check_ids(found, str(self._path), IndexFolderError)
        return found


def _reader(path: Path, small: bool) -> Callable[[int, int], bytes]:
    """Return a function that reads a file's bytes between two offsets."""
    file = open(path, "rb", buffering=0, opener=regular(IndexFolderError))  # noqa: SIM115 (closed with the last reference)
    if small or not hasattr(os, "pread"):
        with file:  # an empty file cannot be mapped
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        return lambda start, end: mapped[start:end]
    number = file.fileno()
    return lambda start, end, file=file: os.pread(number, end - start, start)  # type: ignore[misc]  # keeps it open


def _reopened(path: Path, documents: int, checksum: int) -> Docids:
    """Reopen pickled docids; raise IndexFolderError if the file has changed."""
    docids = Docids(path, documents)
    if docids.checksum() != checksum:
        raise IndexFolderError(f"{path} was changed after its docids were pickled; open the index again instead")
    return docids


def _lines(path: Path, step: int) -> tuple[int, NDArray[np.int64]]:
    """Return the number of lines, and the offset of every `step`-th line and of the end: [lines / step + 1] int64.

    If the last line has no newline, the end is one byte after that of the file.
    """
    starts, count, position, last = [np.zeros(1, dtype=np.int64)], 0, 0, b"\n"
    with open(path, "rb", buffering=0, opener=regular(IndexFolderError)) as file:
        while block := file.read(_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
            first = -(count + 1) % step  # the first newline of the block before a `step`-th line
            starts.append(position + ends[first::step] + 1)
            count += len(ends)
            position += len(block)
            last = block[-1:]
    if last != b"\n":
        count, position = count + 1, position + 1
    offsets = np.concatenate(starts)
    if offsets[-1] != position:
        offsets = np.append(offsets, position)
    return count, offsets

"""Codes and docids of several shards, by their rows in the whole; each stays in its own file."""

import operator
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.index.docids import Lines
from pyserini_jpq.quantizer import Codes, Rows


class Places:
    """The rows of consecutive parts in the whole.

    Parameters
    ----------
    sizes
        Number of rows of each part.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.starts: Rows = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.total = int(self.starts[-1])

    def rows(self, part: int) -> range:
        """Return the rows of a part."""
        return range(int(self.starts[part]), int(self.starts[part + 1]))

    def split(self, rows: Rows) -> Iterator[tuple[int, NDArray[np.int64], Rows]]:
        """Yield for each part with some of the rows, [n] int64: its number, their positions, their rows in the part."""
        part_of = np.searchsorted(self.starts, rows, side="right") - 1
        for part in np.unique(part_of).tolist():
            positions = np.flatnonzero(part_of == part)
            yield part, positions, rows[positions] - self.starts[part]


class JoinedCodes:
    """The codes of several shards as if they were one array.

    Parameters
    ----------
    parts
        [n, bytes of a document] uint8 each; not copied.
    """

    def __init__(self, parts: Sequence[Codes]) -> None:
        self._parts, self._places = parts, Places([len(part) for part in parts])

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._places.total

    def __getitem__(self, rows: slice | Rows) -> Codes:
        """Return the codes of consecutive rows, or of rows by number, copied: [n, bytes of a document] uint8."""
        if isinstance(rows, slice):
            first, end, _ = rows.indices(len(self))
            starts = self._places.starts.tolist()
            found = [part[max(0, first - s) : max(0, end - s)] for part, s in zip(self._parts, starts, strict=False)]
            return np.concatenate(found)
        codes = np.empty((len(rows), self._parts[0].shape[1]), dtype=np.uint8)
        for part, positions, inside in self._places.split(rows):
            codes[positions] = self._parts[part][inside]
        return codes


class JoinedDocids(Lines):
    """The docids of several shards in row order; as `Docids`.

    Parameters
    ----------
    parts
        The docids of each shard.
    """

    def __init__(self, parts: Sequence[Lines]) -> None:
        self._parts, self._places = parts, Places([len(part) for part in parts])

    def __len__(self) -> int:
        """Return the number of docids."""
        return self._places.total

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        """Return the docid of a row, or those of a slice of rows."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        row = operator.index(row)
        row += len(self) if row < 0 else 0
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        part, _, inside = next(self._places.split(np.array([row], dtype=np.int64)))
        return self._parts[part][int(inside[0])]

    def __iter__(self) -> Iterator[str]:
        """Yield all docids in row order."""
        for part in self._parts:
            yield from part

    def at(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the docids of rows, [n] int64, not negative; faster than one by one."""
        found = [""] * len(rows)
        for part, positions, inside in self._places.split(rows):
            for position, docid in zip(positions.tolist(), self._parts[part].at(inside), strict=True):
                found[position] = docid
        return found

    def checksum(self) -> int:
        """Return a CRC-32 of the shards' checksums."""
        return zlib.crc32(b"".join(part.checksum().to_bytes(4, "little") for part in self._parts))

    def __deepcopy__(self, memo: dict[int, Any]) -> "JoinedDocids":
        """Return the object itself, as it is immutable."""
        return self

    def __reduce__(self) -> tuple[Callable[..., "JoinedDocids"], tuple[Sequence[Lines]]]:
        """Pickle the docids of each shard, which reopen their files."""
        return JoinedDocids, (self._parts,)

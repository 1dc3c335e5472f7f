"""The files of rows in a folder of embeddings: headers are read on opening, rows are mapped on access."""

import errno
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyserini_jpq.errors import EmbeddingsError
from pyserini_jpq.files import check_regular, regular


@dataclass(frozen=True)
class RowFile:
    """A file of consecutive rows, with a file of docids beside it.

    Attributes
    ----------
    start
        Number of the first row.
    npy
        [rows, D], normally float32; other number types are converted on reading.
    rows, size, changed
        Rows, bytes and modification time (ns) when it was `described`.
    """

    start: int
    npy: Path
    rows: int = 0
    size: int = 0
    changed: int = 0

    @property
    def docid(self) -> Path:
        """The file of docids, one per line."""
        return self.npy.with_suffix(".docid")


def row_file(folder: Path, start: int) -> RowFile:
    """Return the file of the rows from `start` on."""
    return RowFile(start, folder / f"rows-{start:010d}.npy")


def described(npy: Path, dimension: int) -> RowFile:
    """Return a file of rows, described by its header.

    Raises
    ------
    EmbeddingsError
        If it is cut short, has another shape, or its docids are missing.
    """
    number = npy.stem.removeprefix("rows-")
    if not number.isdecimal():
        raise EmbeddingsError(f"{npy} is not named after the number of its first row; remove it")
    shape, size, changed = _shape_of(npy)
    if len(shape) != 2 or shape[1] != dimension:
        raise EmbeddingsError(f"{npy} has shape {shape}, expected rows of {dimension}")
    file = RowFile(int(number), npy, shape[0], size, changed)
    if not file.docid.is_file():
        raise EmbeddingsError(f"{file.docid} is missing; remove {npy} and encode again")
    return file


def mapped(file: RowFile) -> np.ndarray:
    """Map the rows of a file into memory, [rows, D].

    Raises
    ------
    EmbeddingsError
        If the file has changed since it was described.
    """
    try:
        check_regular(file.npy, EmbeddingsError)
        array: np.ndarray = np.load(file.npy, mmap_mode="r", allow_pickle=False)
        stat = file.npy.stat()
    except (FileNotFoundError, ValueError, EOFError):
        stat = None
    except OSError as problem:
        raise _unreadable(file.npy, problem) from None
    if stat is None or (stat.st_size, stat.st_mtime_ns) != (file.size, file.changed):
        raise EmbeddingsError(f"{file.npy.parent} was changed while it was read; run the same command again")
    return array


def forget(array: np.ndarray) -> None:
    """Release the pages of a mapped file that was read; else they would all count as resident."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _shape_of(npy: Path) -> tuple[tuple[int, ...], int, int]:
    """Return the shape of an `.npy` file, its size and its modification time in ns."""
    try:
        with open(npy, "rb", opener=regular(EmbeddingsError)) as file:
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read[np.lib.format.read_magic(file)](file)
            stat = os.fstat(file.fileno())
            if dtype.kind not in "fiu" or min(shape, default=0) < 0:
                raise ValueError(f"it holds {dtype} {shape}")
            if file.tell() + np.prod(shape, dtype=object) * dtype.itemsize != stat.st_size:
                raise ValueError("it is cut short, or longer than its header says")
    except OSError as problem:
        raise _unreadable(npy, problem) from None
    except EmbeddingsError:
        raise
    except Exception as problem:  # NumPy evaluates the header, which may raise anything
        raise EmbeddingsError(f"{npy} cannot be read: {problem}; remove it and encode again") from None
    return shape, stat.st_size, stat.st_mtime_ns


def _unreadable(path: Path, problem: OSError) -> EmbeddingsError:
    full = problem.errno in (errno.EMFILE, errno.ENFILE)
    remedy = "let processes open more files (`ulimit -n`)" if full else "make it readable"
    return EmbeddingsError(f"{path} cannot be read: {problem.strerror or problem}; {remedy}")

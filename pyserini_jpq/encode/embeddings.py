"""The folder of embeddings: memory-mapped float32 rows in `.npy` files, docids beside them, and a manifest."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.errors import EmbeddingsError
from pyserini_jpq.trust.arrays import open_npy
from pyserini_jpq.trust.fields import ENCODER, is_count, wrong_fields
from pyserini_jpq.trust.plain import NotPlain, read_json_object

MANIFEST = "embeddings.json"
SCHEMA = 1
_FIELDS = {"documents": is_count, "dimension": is_count, "encoder": ENCODER}


@dataclass(frozen=True)
class RowFile:
    """One file of consecutive rows; `docid` stands beside `npy`."""

    start: int
    npy: Path

    @property
    def docid(self) -> Path:
        """The file of docids, one a line."""
        return self.npy.with_suffix(".docid")


def row_file(folder: Path, start: int) -> RowFile:
    """Return the file of the rows from `start` on."""
    return RowFile(start, folder / f"rows-{start:010d}.npy")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of embeddings.

    Raises
    ------
    EmbeddingsError
        If the folder is missing, is no folder of embeddings, or is of a later version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise EmbeddingsError(f"{folder} is no folder of embeddings ({MANIFEST} is missing); make one with encode")
    try:
        manifest = read_json_object(path)
        schema = manifest["schema"]
        if schema != SCHEMA:
            raise EmbeddingsError(
                f"{path} has schema {schema}, this version reads {SCHEMA}; use the version that wrote it"
            )
        is_whole = _FIELDS.keys() <= manifest.keys() and not wrong_fields(manifest, _FIELDS)
    except (NotPlain, KeyError):
        is_whole = False
    if not is_whole:
        raise EmbeddingsError(f"{path} is damaged; encode the collection again")
    return manifest


def _row_file(path: Path) -> RowFile:
    start = path.stem.removeprefix("rows-")
    if not (start.isascii() and start.isdigit()):
        raise EmbeddingsError(f"{path} is no file of rows, which are named by their first; remove it")
    return RowFile(int(start), path)


def is_complete(folder: Path) -> bool:
    """Tell whether a folder holds embeddings of all documents."""
    try:
        Embeddings(folder)
    except EmbeddingsError:
        return False
    return True


class Embeddings:
    """Embeddings on disk, opened for reading; rows come in blocks and are never all in memory.

    Parameters
    ----------
    folder
        What `python -m pyserini_jpq.encode` wrote.

    Attributes
    ----------
    documents : int
        Number of rows N.
    dimension : int
        Number of columns D.
    encoder : dict
        Name, card and weights hash of the encoder.

    Raises
    ------
    EmbeddingsError
        If rows are missing or files do not fit each other.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.documents = int(self.manifest["documents"])
        self.dimension = int(self.manifest["dimension"])
        self.encoder: dict[str, Any] = self.manifest["encoder"]
        self._files = sorted(map(_row_file, self.folder.glob("rows-*.npy")), key=lambda f: f.start)
        self._arrays = [self._open(f) for f in self._files]
        self._check_whole()

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Give all rows in order, as [<= rows, D] float32 blocks, checked to be finite.

        Raises
        ------
        EmbeddingsError
            At the first row that holds NaN or an infinite value, with its docid.
        """
        for file, array in zip(self._files, self._arrays, strict=True):
            for start in range(0, len(array), rows):
                yield self._finite(np.asarray(array[start : start + rows], dtype=np.float32), file, start)
            _forget(array)

    def sample(self, rows: int, seed: int) -> np.ndarray:
        """Return a random sample without replacement, [min(rows, N), D] float32, in row order."""
        if rows >= self.documents:
            return np.concatenate(list(self.blocks(1 << 16)))
        chosen = np.sort(np.random.default_rng(seed).choice(self.documents, rows, replace=False))
        parts = []
        for file, array in zip(self._files, self._arrays, strict=True):
            inside = chosen[(chosen >= file.start) & (chosen < file.start + len(array))] - file.start
            parts.append(self._finite(np.asarray(array[inside], dtype=np.float32), file, None, inside))
            _forget(array)
        return np.concatenate(parts)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Return chosen rows, [n] int64 to [n, D] float32; only these are read from disk."""
        starts = np.array([f.start for f in self._files])
        file_of = np.searchsorted(starts, rows, side="right") - 1
        chosen = np.empty((len(rows), self.dimension), dtype=np.float32)
        for i in np.unique(file_of):
            inside = file_of == i
            chosen[inside] = self._arrays[i][rows[inside] - starts[i]]
        return chosen

    def docids(self) -> Iterator[str]:
        """Give the docids in row order."""
        for file, array in zip(self._files, self._arrays, strict=True):
            count = 0
            try:
                with open(file.docid, encoding="utf-8", newline="\n") as lines:
                    for line in lines:
                        count += 1
                        yield line.rstrip("\n")
            except UnicodeDecodeError as problem:
                raise EmbeddingsError(f"{file.docid} is not UTF-8 ({problem}); encode again") from None
            if count != len(array):
                raise EmbeddingsError(f"{file.docid} has {count} docids for {len(array)} rows; encode again")

    def _open(self, file: RowFile) -> np.ndarray:
        array: np.ndarray = open_npy(file.npy, EmbeddingsError, "remove it and encode again")
        if array.ndim != 2 or array.shape[1] != self.dimension:
            raise EmbeddingsError(f"{file.npy} has shape {array.shape}, expected rows of {self.dimension}")
        if not file.docid.is_file():
            raise EmbeddingsError(f"{file.docid} is missing; remove {file.npy} and encode again")
        return array

    def _check_whole(self) -> None:
        expected = 0
        for file, array in zip(self._files, self._arrays, strict=True):
            if file.start != expected:
                break
            expected += len(array)
        if expected != self.documents:
            raise EmbeddingsError(
                f"{self.folder} is not complete: rows from {expected} on are missing of {self.documents}; "
                "run encode again, it goes on where it stopped (every --shard-id of it)"
            )

    def _finite(
        self, block: np.ndarray, file: RowFile, start: int | None, offsets: np.ndarray | None = None
    ) -> np.ndarray:
        good = np.isfinite(block).all(axis=1)
        if good.all():
            return block
        bad = int(np.flatnonzero(~good)[0])
        row = int(offsets[bad]) if offsets is not None else (start or 0) + bad
        docid = file.docid.read_text(encoding="utf-8").split("\n")[row]
        raise EmbeddingsError(
            f"{file.npy} row {row} (docid {docid}) holds a value that is NaN or infinite; "
            "remove the file and encode again, in --dtype float32 if it comes back"
        )


def _forget(array: np.ndarray) -> None:
    """Give back the memory of a mapped file that was read; else all files, once read, would count as ours."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)

"""The file `vectors` of an index folder: document vectors in 8 or 16 bits, by which the best hits are scored again."""

import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import EmbeddingsError, IndexFolderError
from pyserini_jpq.files import regular, remove, writing
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import KINDS, VECTORS
from pyserini_jpq.quantizer import Floats, Rows

_HEADER = 64
_FORMAT = "<8sIIQI"
_MAGIC, _VERSION = b"JPQVECTS", 1
_BLOCK = 16384
_LARGEST = 127


class Vectors:
    """Document vectors before the rotation, memory-mapped: only the rows that are scored are read.

    Parameters
    ----------
    path
        A file of `write_vectors`. It stays open, even when replaced.
    documents, dimension
        N and D, which the file has to have.

    Attributes
    ----------
    kind : str
        `int8`, with a scale for each document, or `float16`.

    Raises
    ------
    IndexFolderError
        If the file is damaged, cut short, of another version, or of another index.
    """

    def __init__(self, path: Path, documents: int, dimension: int) -> None:
        self.path = path
        with open(path, "rb", opener=regular(IndexFolderError)) as file:
            head, size = file.read(_HEADER), file.seek(0, 2)
            for kind in KINDS:
                record = _record(kind, dimension)
                if head == _header(kind, documents, dimension) and size == _HEADER + documents * record.itemsize:
                    self.kind = kind
                    self._rows: Any = np.memmap(file, record, "r", _HEADER, (documents,))
                    _read_single_pages(self.file)
                    return
        raise IndexFolderError(
            f"{path} is not of {documents} documents of {dimension} dimensions, of another version, or damaged; "
            f"{_again(path.parent)}"
        )

    def __len__(self) -> int:
        """Return the number of documents N."""
        return len(self._rows)

    @property
    def file(self) -> mmap.mmap:
        """The mapped file."""
        mapped: mmap.mmap = self._rows._mmap
        return mapped

    @property
    def manifest(self) -> dict[str, Any]:
        """What is read, in the place of a manifest of embeddings."""
        return {"vectors": self.kind}

    def rows(self, rows: Rows) -> Floats:
        """Return the vectors of rows, int64 of any shape to [*shape, D] float32; only these are read from disk."""
        return _decoded(self._rows[rows], self.kind)

    def blocks(self, rows: int) -> Iterator[Floats]:
        """Yield all vectors in row order, as [<= rows, D] float32 blocks."""
        for start in range(0, len(self), rows):
            yield _decoded(self._rows[start : start + rows], self.kind)

    def scores(self, queries: Floats, rows: Rows) -> Floats:
        """Return the inner products of queries and documents, [B, D] float32 and [B, n] int64 to [B, n] float32.

        Raises
        ------
        IndexFolderError
            If a score is not finite: the file is damaged.
        """
        found = np.empty(rows.shape, dtype=np.float32)
        for query, chosen, scores in zip(queries, rows, found, strict=True):
            # In the order of the file, as neighbouring rows share a page.
            order = np.argsort(chosen)
            scores[order] = self.rows(chosen[order]) @ query
        if not np.isfinite(found).all():
            raise IndexFolderError(f"{self.path} is damaged: a score is not finite; {_again(self.path.parent)}")
        return found

    def records(self, rows: Rows | None = None) -> Iterator[Any]:
        """Yield the records of all rows, or of those given, as they are stored, block by block."""
        for start in range(0, len(self) if rows is None else len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield self._rows[part if rows is None else rows[part]]


DocumentVectors = Embeddings | Vectors
"""The vectors of an index's documents, in its order: `rows` reads some, `blocks` all of them."""


def vectors_of(index: IndexFolder) -> Vectors | None:
    """Open the vectors of an index; None if it keeps none, or a user has deleted the file.

    Raises
    ------
    IndexFolderError
        If the file is damaged, or does not match the manifest.
    """
    if VECTORS not in index.manifest.files or not (index.path / VECTORS).exists():
        return None
    index.check_file(VECTORS, _again(index.path))
    return Vectors(index.path / VECTORS, index.manifest.documents, index.manifest.dimension)


def write_vectors(path: Path, kind: str, documents: int, dimension: int, blocks: Iterable[Any]) -> None:
    """Write a file of vectors; memory holds one block.

    Parameters
    ----------
    path
        The file.
    kind
        `int8` or `float16`.
    documents, dimension
        N and D.
    blocks
        N rows in blocks, [n, D] float32 or records of this kind.

    Raises
    ------
    EmbeddingsError
        If a value is too large for the kind.
    """
    with writing(path), open(path, "wb") as file:
        file.write(_header(kind, documents, dimension))
        with Progress(total=documents, desc="keeping vectors", unit=" documents", delay=2, leave=False) as progress:
            for block in blocks:
                records = block if block.dtype == _record(kind, dimension) else _encoded(block, kind)
                file.write(records.tobytes())
                progress.update(len(records))


def new_vectors(folder: Path, embeddings: Embeddings, kind: str | None) -> None:
    """Write the vectors of a new index into its folder, if a kind is given."""
    remove(folder / VECTORS)  # of an interrupted run
    if kind is not None:
        shape = embeddings.documents, embeddings.dimension
        write_vectors(folder / VECTORS, kind, *shape, embeddings.blocks(_BLOCK))


def keep_vectors(index: IndexFolder, kind: str, embeddings: Embeddings | None = None) -> None:
    """Write or replace the vectors of an index.

    Parameters
    ----------
    index
        The index.
    kind
        `int8` or `float16`.
    embeddings
        Its embeddings; by default those that it names.

    Raises
    ------
    EmbeddingsError
        If there are none, or they are of other documents.
    IndexFolderError
        If another command has changed the index meanwhile.
    """
    if embeddings is None:
        if (folder := index.embeddings()) is None:
            raise EmbeddingsError(f"{index.path} does not say where its embeddings are; give them with --embeddings")
        embeddings = Embeddings(folder)
    manifest = index.manifest
    same = (embeddings.documents, embeddings.dimension) == (manifest.documents, manifest.dimension)
    if not same or list(embeddings.docids()) != index.docids():
        raise EmbeddingsError(
            f"{embeddings.folder} does not hold the embeddings of the documents of {index.path}, in their order; "
            "encode these documents, in this order"
        )
    with index.adding(VECTORS) as partial:
        write_vectors(partial, kind, manifest.documents, manifest.dimension, embeddings.blocks(_BLOCK))


def carry_vectors(index: IndexFolder, folder: Path, rows: Rows, embeddings: Embeddings | None) -> None:
    """Write the vectors of a changed index: those of the rows that stay, then those of new documents.

    Parameters
    ----------
    index
        The index before the change.
    folder
        The new folder.
    rows
        [n] int64, the rows that stay.
    embeddings
        The embeddings of new documents.
    """
    remove(folder / VECTORS)  # of an interrupted run
    if (old := vectors_of(index)) is None:
        return

    def blocks() -> Iterator[Any]:
        yield from old.records(rows)
        if embeddings is not None:
            yield from embeddings.blocks(_BLOCK)

    documents = len(rows) + (embeddings.documents if embeddings else 0)
    write_vectors(folder / VECTORS, old.kind, documents, index.manifest.dimension, blocks())


def _header(kind: str, documents: int, dimension: int) -> bytes:
    bits = {"int8": 8, "float16": 16}[kind]
    return struct.pack(_FORMAT, _MAGIC, _VERSION, bits, documents, dimension).ljust(_HEADER, b"\0")


def _record(kind: str, dimension: int) -> Any:
    """Return the type of a row. The scale stands beside the values, so that a row is read at one place."""
    if kind == "int8":
        return np.dtype([("scale", "<f4"), ("values", "i1", (dimension,))])
    return np.dtype([("values", "<f2", (dimension,))])


def _encoded(vectors: Floats, kind: str) -> Any:
    """Return vectors as records, [n, D] float32 to [n]."""
    records = np.empty(len(vectors), dtype=_record(kind, vectors.shape[1]))
    if kind == "int8":
        scales = np.abs(vectors).max(axis=1) / np.float32(_LARGEST)
        records["scale"] = scales
        records["values"] = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])
        return records
    if np.abs(vectors).max(initial=0) > np.finfo(np.float16).max:
        raise EmbeddingsError("an embedding has a value above 65,504, the largest of float16; keep vectors as int8")
    records["values"] = vectors
    return records


def _decoded(records: Any, kind: str) -> Floats:
    """Return the vectors of records, [n] to [n, D] float32."""
    vectors: Floats = records["values"].astype(np.float32)
    if kind == "int8":
        vectors *= records["scale"][..., None]
    return vectors


def _read_single_pages(file: mmap.mmap) -> None:
    """Tell the system that rows are read here and there: else it reads 128 KB of the disk for each."""
    if hasattr(mmap, "MADV_RANDOM"):
        file.madvise(mmap.MADV_RANDOM)


def _again(index: Path) -> str:
    return f"`python -m pyserini_jpq.index --index {index} --keep-vectors int8` makes it again from the embeddings"

"""The index folder: the files that Pyserini needs (`index`, `docid`), and ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyserini_jpq.cards import has_card, index_card
from pyserini_jpq.data.ids import check_docids, words_of
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import (
    begins_again,
    beside,
    exclusive,
    move_into_place,
    put_back,
    sha256_of,
)
from pyserini_jpq.index.docids import Docids, Lines
from pyserini_jpq.index.faiss_format import parts_of
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.manifest import (
    BLOCKS,
    DOCID,
    DOCUMENT_MAP,
    FIELDS,
    FILES,
    INDEX,
    INITIAL_CENTROIDS,
    MANIFEST,
    SCHEMA,
    Manifest,
    described,
    write_fields,
)
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.trust.arrays import open_npy
from pyserini_jpq.trust.faiss_file import faiss_layout
from pyserini_jpq.trust.fields import wrong_fields
from pyserini_jpq.trust.places import place_beside
from pyserini_jpq.trust.plain import NotPlain, read_json_object


def without_blocks(index: Path) -> str:
    """Return the remedy for a damaged file of blocks."""
    again = f"`python -m pyserini_jpq.index --index {index} --blocks yes`"
    return f"delete it (search works without, slower); {again} makes another"


class IndexFolder:
    """An index folder, checked on opening.

    Parameters
    ----------
    path
        The folder.
    verify
        Also check the SHA-256 of every file, which reads them all, and every docid.
    whole
        False to skip the check of blocks, which are about to be replaced or removed.

    Raises
    ------
    IndexFolderError
        If it is not an index folder, of another version, or a file is missing, cut short or changed.
    """

    def __init__(self, path: str | Path, verify: bool = False, whole: bool = True) -> None:
        self.path = Path(path)
        self.verify = verify
        put_back(self.path)
        self.manifest = self._read_manifest()
        while True:
            try:
                self._check(whole)
                return
            except IndexFolderError:
                # Another command may have replaced files since the manifest was read.
                before, self.manifest = self.manifest, self._read_manifest()
                if self.manifest == before:
                    raise

    def _check(self, whole: bool) -> None:
        for name in FILES:
            self.check_file(name)
        if self.manifest.documents_mapped:
            self.check_file(DOCUMENT_MAP)
        self.blocks: Path | None = None
        """The file of blocks, if there is one."""
        if BLOCKS in self.manifest.files and (self.path / BLOCKS).is_file():
            self.blocks = self.path / BLOCKS
            if whole:
                self.check_file(BLOCKS, without_blocks(self.path))
        if self.verify:
            check_docids(self.open_docids, str(self.path / DOCID), IndexFolderError)

    def read(self, mapped: bool = False) -> Any:
        """Return the faiss index, checked against the manifest.

        Parameters
        ----------
        mapped
            As in `read_faiss`.

        Raises
        ------
        IndexFolderError
            If faiss cannot read the file, or it does not match the manifest.
        """
        path = self.path / INDEX
        layout = faiss_layout(path)
        if layout.kind != "IndexPQ":
            raise IndexFolderError(f"{path} is no rotation followed by an IndexPQ, but {layout.kind}")
        wrong = [
            f"{name} {getattr(layout, name)}, not {getattr(self.manifest, name)}"
            for name in ("documents", "dimension", "m", "bits", "bytes_per_document")
            if getattr(layout, name) != getattr(self.manifest, name)
        ]
        if wrong:
            raise IndexFolderError(
                f"{path} has {'; '.join(wrong)} as {MANIFEST} says; one of the two is of another index: "
                "make the index again"
            )
        index = read_faiss(path, mapped)
        parts_of(index, path)
        return index

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """Write or replace an optional file, atomically, and list it in the manifest.

        Parameters
        ----------
        name
            `blocks`, `ivf`, `texts` or `vectors`.

        Yields
        ------
        pathlib.Path
            The file to write; it exists and is writable.

        Raises
        ------
        IndexFolderError
            If another command has changed the index meanwhile.
        OutputError
            If another process writes the index.
        """
        path = self.path / name
        with exclusive(self.path), begins_again(), beside(path) as partial:
            self.check_unchanged()
            partial.touch()
            yield partial
            self.check_unchanged()
            entry = described(partial)
            # While the file is not listed, readers ignore it or take it unchecked, the old one or the new.
            self._note(name, None)
            move_into_place(partial, path)
            self._note(name, entry)

    def drop(self, name: str) -> None:
        """Remove an optional file and its entry in the manifest; raises as `adding`."""
        with exclusive(self.path):
            self._note(name, None)
            (self.path / name).unlink(missing_ok=True)

    def check_unchanged(self) -> Manifest:
        """Return the current manifest; raise if another command has changed the index since it was opened."""
        now = self._read_manifest()
        if any(now.files.get(name) != self.manifest.files.get(name) for name in FILES):
            raise IndexFolderError(f"{self.path} was changed meanwhile; run the same command again")
        return now

    def _note(self, name: str, entry: dict[str, Any] | None) -> None:
        """Set or remove the entry of a file in the manifest."""
        now = self.check_unchanged()
        files = {**now.files, name: entry}
        self.manifest = replace(now, files={name: file for name, file in files.items() if file is not None})
        write_fields(self.path, self.manifest)
        self.blocks = self.path / BLOCKS if BLOCKS in self.manifest.files else None

    def docids(self) -> list[str]:
        """Return the docids in row order, all checked; raise IndexFolderError if one cannot be used or comes twice."""
        docids = list(self.open_docids())
        check_docids(lambda: docids, str(self.path / DOCID), IndexFolderError)
        return docids

    @property
    def parts(self) -> "tuple[IndexFolder, ...]":
        """The folders that hold the documents, in row order: the index itself, or its shards."""
        return (self,)

    def open_docids(self) -> Lines:
        """Open the docids; raise IndexFolderError if there are more or fewer than documents."""
        return Docids(self.path / DOCID, self.manifest.documents)

    def initial_centroids(self) -> Floats:
        """Return the centroids by which codes were assigned, [M, K, D/M] float32."""
        path, manifest = self.path / INITIAL_CENTROIDS, self.manifest
        centroids: Floats = open_npy(path, IndexFolderError, "make the index again", mapped=False)
        shape = (manifest.m, 1 << manifest.bits, manifest.width)
        if centroids.shape != shape:
            raise IndexFolderError(f"{path} has the shape {centroids.shape}, expected {shape}; make the index again")
        return centroids

    def document_map(self) -> Floats | None:
        """Return what takes documents' vectors to the centroids, [D, D] float32; None if the rotation does."""
        if not self.manifest.documents_mapped:
            return None
        path, dimension = self.path / DOCUMENT_MAP, self.manifest.dimension
        matrix: Floats = open_npy(path, IndexFolderError, "make the index again", mapped=False)
        if matrix.shape != (dimension, dimension):
            raise IndexFolderError(
                f"{path} has the shape {matrix.shape}, expected {(dimension, dimension)}; make the index again"
            )
        return matrix

    def embeddings(self) -> Path | None:
        """Return the folder of the embeddings, which may be gone; None if unknown or not a permitted path."""
        return place_beside(self.path, self.manifest.embeddings) if self.manifest.embeddings else None

    def _read_manifest(self) -> Manifest:
        path = self.path / MANIFEST
        if not self.path.is_dir():
            raise IndexFolderError(f"{self.path} is no folder; make an index with `python -m pyserini_jpq.index`")
        if not path.is_file():
            raise IndexFolderError(
                f"{self.path} is no index of ours: {MANIFEST} is missing; make one with `python -m pyserini_jpq.index`"
            )
        try:
            values = read_json_object(path)
        except NotPlain as problem:
            raise IndexFolderError(f"{path} is damaged ({problem}); make the index again") from None
        schema = values.get("schema")
        if type(schema) is not int or schema != SCHEMA:
            raise IndexFolderError(
                f"{path} has schema {schema!r}, this version reads {SCHEMA}; use the version that wrote it"
            )
        wrong = wrong_fields(values, FIELDS)
        try:
            manifest = Manifest(**values)
        except TypeError as problem:
            raise IndexFolderError(f"{path} is damaged ({problem}); make the index again") from None
        if not wrong and not manifest.fits():
            wrong = ["dimension, m, bits, parts"]
        if wrong:
            raise IndexFolderError(f"{path} is damaged ({', '.join(wrong)}); make the index again")
        return manifest

    def check_file(self, name: str, remedy: str = "make the index again") -> None:
        """Check a file against the manifest: its size, and with `verify` its hash.

        Parameters
        ----------
        name
            The file.
        remedy
            What the error tells the user to do.

        Raises
        ------
        IndexFolderError
            If it is missing, cut short or changed.
        """
        path = self.path / name
        expected = self.manifest.files.get(name)
        if expected is None:
            raise IndexFolderError(f"{self.path / MANIFEST} does not list {name}; make the index again")
        if not path.is_file():
            raise IndexFolderError(f"{path} is missing; make the index again")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise IndexFolderError(
                f"{path} has {size} bytes, {MANIFEST} says {expected['bytes']}; it was cut short or changed: {remedy}"
            )
        if self.verify and (found := sha256_of(path)) != expected["sha256"]:
            raise IndexFolderError(
                f"{path} has SHA-256 {found}, {MANIFEST} says {expected['sha256']}; it was changed: {remedy}"
            )


def read_docids(path: Path) -> list[str]:
    """Return the docids of a file, one per line.

    Raises
    ------
    IndexFolderError
        If it cannot be read.
    """
    if not path.is_file():
        raise IndexFolderError(f"{path} is no file of docids, one a line; give one that is there")
    return list(words_of(path, IndexFolderError))


def find_index(name: str) -> Path:
    """Return an index folder by path, or by the name of one under `indexes/`.

    Raises
    ------
    IndexFolderError
        If there is none; the message describes the card of that name, if there is one.
    """
    for folder in (Path(name), Path("indexes") / name):
        put_back(folder)
        if folder.is_dir():
            return folder
    if has_card("indexes", name):
        card = index_card(name)
        source = f"; its publisher: {card.source}" if card.source else ""
        raise IndexFolderError(
            f"the index {name} ({card.collection}, encoder {card.encoder}, M={card.m}) is not here; build it into "
            f"indexes/{name} with encode, index and train (docs/indexing.md){source}"
        )
    if "/" in name:
        raise IndexFolderError(f"{name} is no folder; make an index with `python -m pyserini_jpq.index`")
    index_card(name)
    raise AssertionError("unreachable: index_card raises for an unknown name")

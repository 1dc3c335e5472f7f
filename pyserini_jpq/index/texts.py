"""The documents' texts beside an index, in SQLite files that are written once.

As a file never changes, readers need no lock. A command that adds documents writes a new file and merges into it the
files before that are no larger, so that their number grows with the logarithm of the documents. No docid is in two
files.
"""

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Collection as Sized
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.data.collection import Collection, Document
from pyserini_jpq.data.source import open_collection
from pyserini_jpq.errors import CollectionError, IndexFolderError
from pyserini_jpq.files import beside, check_regular, link_or_copy, remove, writing
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import TEXTS, number_of, text_files

_APPLICATION = 0x4A505154  # "JPQT"
_SCHEMA = "CREATE TABLE texts (docid TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL, url TEXT NOT NULL)"
_SELECT = "SELECT docid, title, text, url FROM texts"
_INDEX = "CREATE UNIQUE INDEX by_docid ON texts (docid)"
_AT_ONCE = 4096
_ASKED_AT_ONCE = 500
"""Less than the 999 parameters of a statement that any SQLite takes."""


class Texts(Mapping[str, Document]):
    """Documents by docid, read from disk on access; threads can share it.

    Parameters
    ----------
    files
        Files of `write_texts`, no docid in two of them. They stay open, even when replaced.

    Raises
    ------
    IndexFolderError
        If a file is damaged, or holds something else.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = list(files)
        self._lock = threading.Lock()
        self._open = [_opened(file) for file in self.files]

    def __getitem__(self, docid: str) -> Document:
        """Return a document."""
        return self.several([docid])[docid]

    def several(self, docids: Iterable[str]) -> dict[str, Document]:
        """Return documents by docid, without those that there are not; a statement asks for many of them."""
        found: dict[str, Document] = {}
        wanted = list(dict.fromkeys(docids))
        for file, connection in zip(self.files, self._open, strict=True):
            for start in range(0, len(wanted), _ASKED_AT_ONCE):
                some = wanted[start : start + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                with self._lock, _explained(file):
                    rows = connection.execute(f"{_SELECT} WHERE docid IN ({marks})", some).fetchall()
                if not all(isinstance(value, str) for row in rows for value in row):
                    raise IndexFolderError(f"{file} holds a value that is no text; {_again(file.parent)}")
                found |= {row[0]: Document(*row) for row in rows}
            wanted = [docid for docid in wanted if docid not in found]
        return found

    def __iter__(self) -> Iterator[str]:
        """Yield the docids, sorted by their bytes within each file."""
        for file, connection in zip(self.files, self._open, strict=True):
            last: str | None = None
            while rows := self._page(file, connection, last):
                yield from (docid for (docid,) in rows)
                last = rows[-1][0]

    def __len__(self) -> int:
        """Return the number of documents."""
        count = "SELECT COUNT(*) FROM texts"
        with self._lock:
            return sum(int(connection.execute(count).fetchone()[0]) for connection in self._open)

    def __reduce__(self) -> Any:
        """Pickle the paths."""
        return Texts, (self.files,)

    def _page(self, file: Path, connection: sqlite3.Connection, after: str | None) -> list[Any]:
        with self._lock, _explained(file):
            return connection.execute(
                "SELECT docid FROM texts WHERE ? IS NULL OR docid > ? ORDER BY docid LIMIT ?", (after, after, _AT_ONCE)
            ).fetchall()


def texts_of(index: IndexFolder) -> Texts | None:
    """Open the texts of an index, if it has any.

    Raises
    ------
    IndexFolderError
        If a file is missing, damaged, or does not match the manifest.
    """
    files = []
    for part in index.parts:
        for name in text_files(part.manifest.files):
            part.check_file(name, _again(part.path))
            files.append(part.path / name)
    return Texts(files) if files else None


def write_texts(path: Path, documents: Iterable[Document]) -> int:
    """Write a file of texts; memory holds few documents at a time.

    Parameters
    ----------
    path
        The file, which must not exist.
    documents
        Documents with unique docids.

    Returns
    -------
    int
        Number of documents.
    """
    count = 0
    with writing(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # An incomplete file is deleted, so no journal is needed.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"application_id = {_APPLICATION}"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        connection.execute(_SCHEMA)
        for document in Progress(documents, desc="keeping texts", unit=" documents", delay=2, leave=False):
            row = (document.docid, document.title, document.text, document.url)
            connection.execute("INSERT INTO texts VALUES (?, ?, ?, ?)", row)
            count += 1
        connection.execute(_INDEX)
        connection.execute("COMMIT")
    return count


def new_texts(folder: Path, docids: Iterable[str], corpus: str | Path | Collection | None) -> None:
    """Write the texts of a new index into its folder, if a collection is given."""
    remove(folder / TEXTS)  # of an interrupted run
    if corpus is not None:
        with beside(folder / TEXTS) as partial:
            write_texts(partial, documents_for(list(docids), corpus))
            partial.rename(folder / TEXTS)


def keep_texts(index: IndexFolder, corpus: str | Path | Collection) -> None:
    """Write or replace the texts of an index.

    Parameters
    ----------
    index
        The index.
    corpus
        The collection: a file, a folder, a name, or opened.

    Raises
    ------
    CollectionError
        If a document of the index is not in the collection.
    IndexFolderError
        If another command has changed the index meanwhile.
    """
    old = text_files(index.manifest.files)
    with index.adding(TEXTS) as partial:
        write_texts(partial, documents_for(index.docids(), corpus))
    for name in old:
        if name != TEXTS:
            index.drop(name)


def documents_for(docids: Sized[str], corpus: str | Path | Collection) -> Iterator[Document]:
    """Yield the documents of a collection with one of the docids, in the order of the collection.

    Raises
    ------
    CollectionError
        At the end, if the collection lacks a docid.
    """
    collection = corpus if isinstance(corpus, Collection) else open_collection(corpus, skip_empty=True)
    # Hashes of 8 bytes take a tenth of the memory of strings.
    wanted = np.sort(np.fromiter(map(_hash64, docids), np.uint64, len(docids)))
    seen = np.zeros(len(wanted), dtype=bool)
    for document in collection:
        # As uint64: for a Python integer NumPy would convert all hashes to float64, slowly and not exactly.
        number = np.uint64(_hash64(document.docid))
        place = int(np.searchsorted(wanted, number))
        if place < len(wanted) and wanted[place] == number:
            seen[place] = True
            yield document
    if not seen.all():
        lacking = set(wanted[~seen].tolist())
        docid = next(docid for docid in docids if _hash64(docid) in lacking)
        raise CollectionError(
            f"{collection.path} lacks {len(lacking)} documents of the index, such as {docid!r}; give the collection "
            "that was encoded"
        )


def check_texts(index: IndexFolder, added: bool, corpus: str | Path | Collection | None) -> None:
    """Raise IndexFolderError if texts are given without being kept, or missing for added documents."""
    keeps = bool(text_files(index.manifest.files))
    if corpus is not None and not keeps:
        raise IndexFolderError(f"{index.path} keeps no texts; {_again(index.path)} for all of its documents")
    if added and keeps and corpus is None:
        raise IndexFolderError(f"{index.path} keeps texts; give the collection of the new documents, too (--texts)")


def carry_texts(
    index: IndexFolder, folder: Path, gone: Set[str], added: Sized[str], corpus: str | Path | Collection | None
) -> None:
    """Write the texts of a changed index: the old ones without some documents, and the new ones.

    Parameters
    ----------
    index
        The index before the change.
    folder
        The new folder.
    gone
        Docids of deleted or replaced documents.
    added
        Docids of new documents.
    corpus
        The collection of the new documents.
    """
    for name in text_files(path.name for path in folder.iterdir()):
        (folder / name).unlink()  # of an interrupted run
    for name in text_files(index.manifest.files):
        old = Texts([index.path / name])
        if any(docid in old for docid in gone):
            write_texts(folder / name, (old[docid] for docid in old if docid not in gone))
        else:
            link_or_copy(index.path / name, folder / name)
    if corpus is not None:
        _add(folder, added, corpus)


def _add(folder: Path, docids: Sized[str], corpus: str | Path | Collection) -> None:
    """Write the texts of new documents, merged with the files before that are no larger."""
    names = text_files(path.name for path in folder.iterdir())
    taken: list[Path] = []
    count = len(docids)
    while names and (size := len(Texts([folder / names[-1]]))) <= count:
        taken.append(folder / names.pop())
        count += size
    new = folder / (f"{TEXTS}.{number_of(names[-1]) + 1}" if names else TEXTS)
    old = Texts(taken)
    documents = chain((old[docid] for docid in old), documents_for(docids, corpus))
    with beside(new) as partial:
        write_texts(partial, documents)
        for path in taken:
            path.unlink()
        partial.rename(new)


def _opened(path: Path) -> sqlite3.Connection:
    """Open a file read-only, and check that it has our schema and nothing that runs, such as a trigger."""
    check_regular(path, IndexFolderError)
    with _explained(path):
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        connection.execute("PRAGMA trusted_schema = OFF")
        # No text is longer than its file.
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(1024, path.stat().st_size))
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master LIMIT 3")}
    if application != _APPLICATION or found != {_SCHEMA, _INDEX}:
        raise IndexFolderError(f"{path} holds no texts of documents; {_again(path.parent)}")
    return connection


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise IndexFolderError for an error of SQLite."""
    try:
        yield
    except sqlite3.Error as problem:
        raise IndexFolderError(f"{path} cannot be read ({problem}); {_again(path.parent)}") from None


def _again(index: Path) -> str:
    return f"`python -m pyserini_jpq.index --index {index} --texts CORPUS` makes them again"


def _hash64(docid: str) -> int:
    digest = hashlib.blake2b(docid.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")

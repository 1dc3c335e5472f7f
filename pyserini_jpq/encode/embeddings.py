"""The folder of embeddings: memory-mapped float32 rows in `.npy` files, their docids, and a manifest."""

import re
from array import array as numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.encode.row_files import RowFile, described, forget, mapped
from pyserini_jpq.errors import EmbeddingsError
from pyserini_jpq.files import regular
from pyserini_jpq.trust.fields import ENCODER, is_count, is_text, wrong_fields
from pyserini_jpq.trust.plain import NotPlain, read_json_object

MANIFEST = "embeddings.json"
SCHEMA = 1
_FIELDS = {"documents": is_count, "dimension": is_count, "encoder": ENCODER}
_OPTIONAL = {"compute_dtype": is_text, "backend": is_text}

_MAPPED = 32
"""Most mapped files: 21 million documents have 1,282, and a process may often open 1,024 only."""
_LONGEST = 1e15
"""Largest norm of an embedding: beyond, faiss's sums of squared distances could overflow float32."""
_NOT_IN_DOCIDS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of embeddings.

    Raises
    ------
    EmbeddingsError
        If the folder is missing, does not hold embeddings, or is of a later version.
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
        is_whole = _FIELDS.keys() <= manifest.keys() and not wrong_fields(manifest, _FIELDS | _OPTIONAL)
    except (NotPlain, KeyError):
        is_whole = False
    if not is_whole:
        raise EmbeddingsError(f"{path} is damaged; encode the collection again")
    return manifest


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds complete embeddings."""
    try:
        Embeddings(folder)
    except EmbeddingsError:
        return False
    return True


def computed_by(manifest: dict[str, Any]) -> str | None:
    """Return backend and number type that embeddings were computed by; None if the manifest does not say."""
    dtype = manifest.get("compute_dtype")
    return f"{manifest.get('backend', 'torch')} {dtype}" if dtype else None


class Embeddings:
    """Embeddings on disk, opened for reading; rows are read in blocks.

    Parameters
    ----------
    folder
        A folder of `python -m pyserini_jpq.encode`.

    Attributes
    ----------
    documents : int
        Number of rows N.
    dimension : int
        Number of columns D.
    encoder : dict
        Name, card and weights hash of the encoder.
    computed : str or None
        What computed the vectors, and in which number type: `torch float32`; None if they come from elsewhere.

    Raises
    ------
    EmbeddingsError
        If rows are missing or repeated, or files do not fit each other.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.documents = int(self.manifest["documents"])
        self.dimension = int(self.manifest["dimension"])
        self.encoder: dict[str, Any] = self.manifest["encoder"]
        self.computed = computed_by(self.manifest)
        files = (described(npy, self.dimension) for npy in self.folder.glob("rows-*.npy"))
        self._files = sorted(files, key=lambda file: file.start)
        self._check_whole()
        # One cache per folder: mapped files are closed with it.
        self._map: Callable[[RowFile], np.ndarray] = lru_cache(_MAPPED)(mapped)

    def __reduce__(self) -> tuple[type["Embeddings"], tuple[Path]]:
        """Pickle the path."""
        return Embeddings, (self.folder,)

    @property
    def files(self) -> Sequence[RowFile]:
        """The files of rows, in row order."""
        return self._files

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield all rows in order, as [<= rows, D] float32 blocks, checked to be finite.

        Raises
        ------
        EmbeddingsError
            At the first row with NaN, infinite or too large values; the message names its docid.
        """
        for file in self._files:
            array = self._map(file)
            for start in range(0, len(array), rows):
                yield self._finite(np.asarray(array[start : start + rows], dtype=np.float32), file, start)
            forget(array)

    def sample(self, rows: int, seed: int) -> np.ndarray:
        """Return a random sample without replacement, [min(rows, N), D] float32, in row order."""
        chosen = np.arange(self.documents)
        if rows < self.documents:
            chosen = np.sort(np.random.default_rng(seed).choice(self.documents, rows, replace=False))
        sample = np.empty((len(chosen), self.dimension), dtype=np.float32)
        for file in self._files:
            first, end = np.searchsorted(chosen, (file.start, file.start + file.rows))
            inside, array = chosen[first:end] - file.start, self._map(file)
            sample[first:end] = self._finite(np.asarray(array[inside], dtype=np.float32), file, None, inside)
            forget(array)
        return sample

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Return rows by number, [n] int64 to [n, D] float32; only these are read from disk."""
        starts = np.array([f.start for f in self._files])
        file_of = np.searchsorted(starts, rows, side="right") - 1
        chosen = np.empty((len(rows), self.dimension), dtype=np.float32)
        for i in np.unique(file_of):
            inside = file_of == i
            chosen[inside] = self._map(self._files[i])[rows[inside] - starts[i]]
        return chosen

    def docids(self) -> Iterator[str]:
        """Yield the docids in row order.

        Raises
        ------
        EmbeddingsError
            If a file has another number of docids than rows, or is not UTF-8.
        """
        for file in self._files:
            count = 0
            try:
                with open(file.docid, encoding="utf-8", newline="\n", opener=regular(EmbeddingsError)) as lines:
                    for line in lines:
                        count += 1
                        yield line.rstrip("\n")
            except UnicodeDecodeError as problem:
                raise EmbeddingsError(f"{file.docid} is not UTF-8 ({problem}); encode again") from None
            if count != file.rows:
                raise EmbeddingsError(f"{file.docid} has {count} docids for {file.rows} rows; encode again")

    def check_docids(self) -> None:
        """Raise EmbeddingsError if a docid is repeated, or not usable in a run."""
        check_docids(self.docids, str(self.folder))

    def _check_whole(self) -> None:
        expected = 0
        for file in self._files:
            if file.start < expected:
                raise EmbeddingsError(
                    f"{self.folder} holds rows {file.start} to {min(expected, file.start + file.rows) - 1} twice, the "
                    f"second time in {file.npy.name}: of other shards; remove the files that are not of these shards"
                )
            if file.start > expected:
                break
            expected += file.rows
        last = self._files[-1] if self._files else RowFile(0, self.folder)
        if expected >= self.documents and last.start + last.rows > self.documents:
            raise EmbeddingsError(
                f"{self.folder} holds more rows than its {self.documents} documents: {last.npy.name} is of others; "
                "remove the files that are not of these documents"
            )
        if expected != self.documents:
            raise EmbeddingsError(
                f"{self.folder} is not complete: rows from {expected} on are missing of {self.documents}; "
                "run encode again, it goes on where it stopped (every --shard-id of it)"
            )

    def _finite(
        self, block: np.ndarray, file: RowFile, start: int | None, offsets: np.ndarray | None = None
    ) -> np.ndarray:
        good = is_usable(block)
        if good.all():
            return block
        bad = int(np.flatnonzero(~good)[0])
        row = int(offsets[bad]) if offsets is not None else (start or 0) + bad
        docid = file.docid.read_text(encoding="utf-8").split("\n")[row]
        what = "a value that is NaN or infinite"
        if np.isfinite(block[bad]).all():
            what = f"values too large to compute with (the longest vector that can be used is {_LONGEST:.0e})"
        raise EmbeddingsError(
            f"{file.npy} row {row} (docid {docid}) holds {what}; "
            "remove the file and encode again, in --dtype float32 if it comes back"
        )


def is_usable(vectors: np.ndarray) -> np.ndarray:
    """Return for each row, [n, D] float32, whether it is finite and small enough for faiss: [n] bool."""
    with np.errstate(over="ignore", invalid="ignore"):
        usable: np.ndarray = np.einsum("nd,nd->n", vectors, vectors) <= np.float32(_LONGEST**2)
    return usable


def check_docids(docids: Callable[[], Iterable[str]], where: str) -> None:
    """Raise EmbeddingsError if a docid is repeated, or not usable in a run or a file of lines.

    Parameters
    ----------
    docids
        Returns an iterator over the docids; called again if two hashes are equal, as only hashes are kept.
    where
        Name of the folder, for errors.
    """
    hashes = numbers("q")
    for docid in docids():
        is_plain = docid.isprintable() and " " not in docid  # faster than the pattern, for nearly all docids
        if not docid or (not is_plain and _NOT_IN_DOCIDS.search(docid)):
            raise EmbeddingsError(
                f"{where} holds docid {docid!r}, which is empty or has whitespace or control characters; "
                "give the document another and encode again"
            )
        hashes.append(hash(docid))
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    suspects, seen = set(values[counts > 1].tolist()), set()
    for docid in docids() if suspects else ():
        if hash(docid) in suspects:
            if docid in seen:
                raise EmbeddingsError(f"{where} holds docid {docid!r} twice; every document needs its own")
            seen.add(docid)

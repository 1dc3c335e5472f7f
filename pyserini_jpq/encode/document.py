"""Encode a collection into a folder of embeddings, a window of documents at a time; an interrupted run resumes."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyserini_jpq.bars import Progress
from pyserini_jpq.data.collection import Collection, Document, Summary, check_template
from pyserini_jpq.encode.backend import document_backend
from pyserini_jpq.encode.embeddings import MANIFEST, SCHEMA, Embeddings, is_complete, is_usable, read_manifest
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.pipeline import Pipeline, pipeline
from pyserini_jpq.encode.row_files import RowFile, described, row_file
from pyserini_jpq.errors import EmbeddingsError, OutputError
from pyserini_jpq.files import (
    check_regular,
    exclusive,
    move_into_place,
    partial_folder,
    refuse_existing,
    remove,
    save_array,
    write_json_atomically,
    write_text_atomically,
    writing,
)
from pyserini_jpq.locks import BusyError

WINDOW = 16384
"""Documents that are sorted by length together: enough for little padding; 50 MB at 768 dimensions."""

_PATIENCE = 10.0
"""Seconds to wait for another shard to create the folder."""


@dataclass(frozen=True)
class Shard:
    """The part of a collection that one process encodes: shard `id` of `num`, from 0."""

    id: int = 0
    num: int = 1

    def rows(self, documents: int) -> range:
        """Return the rows of this shard; shards are consecutive and of equal size."""
        return range(documents * self.id // self.num, documents * (self.id + 1) // self.num)

    def files(self, output: Path, documents: int) -> list[tuple[RowFile, int]]:
        """Return the files of this shard with their numbers of rows."""
        rows = self.rows(documents)
        return [(row_file(output, start), min(WINDOW, rows.stop - start)) for start in rows[::WINDOW]]


def encode_collection(
    collection: Collection,
    encoder: Encoder,
    entry: dict[str, Any],
    output: Path,
    *,
    shard: Shard | None = None,
    batch_size: int = 32,
    dtype: torch.dtype = torch.float32,
    backend: str = "torch",
    overwrite: bool = False,
) -> Summary:
    """Encode the documents of a collection into a folder of embeddings.

    Rows of an interrupted run are kept. Several processes may encode shards into the same folder.

    Parameters
    ----------
    collection
        The documents.
    encoder
        The encoder, on its device.
    entry
        Name, card and weights hash of the encoder, for the manifest.
    output
        The folder to write.
    shard
        The part to encode; all by default.
    batch_size
        Most documents of a batch.
    dtype
        Number type of the backbone, by torch; embeddings on disk are float32.
    backend
        What computes: one of `backend.DOCUMENT_BACKENDS`.
    overwrite
        Replace existing embeddings.

    Raises
    ------
    CollectionError
        If a document cannot be used.
    OutputError
        If `output` is complete, was begun with other settings, or another process writes it.
    EmbeddingsError
        If the encoder returns a value that is not finite, or existing rows do not fit.
    EncoderError
        If the card's template cannot be used.
    JPQError, InstallationError
        If the backend does not run on the device, or is not installed.
    """
    check_template(encoder.card.document.template)
    shard = shard or Shard()
    summary = collection.scan()
    manifest = {
        "schema": SCHEMA,
        "documents": summary.documents,
        "dimension": encoder.dimension,
        "compute_dtype": "int8" if backend.endswith("int8") else str(dtype).removeprefix("torch."),
        "backend": backend,
        "encoder": entry,
        "collection_sha256": summary.sha256,
        "shards": shard.num,
    }
    compute = document_backend(encoder, backend)
    begin(output, manifest, shard, overwrite)
    rows = shard.rows(summary.documents)
    documents = islice(collection, rows.start, rows.stop)
    files = shard.files(output, summary.documents)
    with (
        exclusive(output, shared=True),
        exclusive(output / f"shard-{shard.id}", f"part {shard.id} of {shard.num} of {output}"),
        pipeline(encoder, compute, batch_size, dtype) as encoding,
        Progress(
            total=len(rows),
            initial=sum(_rows_done(file, rows, encoder.dimension) for file, rows in files),
            desc="encoding",
            unit=" documents",
            smoothing=0.1,
        ) as progress,
    ):
        for file, count in files:
            window = list(islice(documents, count))
            with writing(output):
                encode_window(file, window, encoder, encoding, progress)
    if shard.num == 1:
        Embeddings(output)  # raises if there are rows of another collection
    return summary


def begin(output: Path, manifest: dict[str, Any], shard: Shard, overwrite: bool) -> None:
    """Create the folder, or check that it was begun with the same settings."""
    deadline = time.monotonic() + _PATIENCE
    while not _is_begun(output, manifest, shard, overwrite):
        try:
            with exclusive(output):
                if not _is_begun(output, manifest, shard, overwrite):
                    _begin(output, manifest)
        except BusyError:
            # Of several shards that start together, one creates the folder for all.
            if overwrite or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if partial_folder(output).exists():  # of a run that was killed while it removed the old folder
        with contextlib.suppress(BusyError), exclusive(output):
            remove(partial_folder(output))


def _is_begun(output: Path, manifest: dict[str, Any], shard: Shard, overwrite: bool) -> bool:
    """Return whether the folder was begun with the same settings; raise OutputError if it may not be replaced."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give a folder as --output")
    refuse_existing(output, overwrite=True)
    if not (output / MANIFEST).is_file():
        if output.is_dir() and any(not file.name.startswith(".embeddings") for file in output.iterdir()):
            raise OutputError(f"{output} holds other files and no embeddings; give another --output")
        return False
    begun = {"shards": shard.num, "backend": "torch", **read_manifest(output)}  # older folders lack these
    if begun == manifest and not _is_done(output, manifest, shard):
        return True
    if overwrite:
        return False
    is_same = begun == {**manifest, "shards": begun["shards"]}
    if begun == manifest or (is_same and is_complete(output)):
        raise OutputError(f"{output} exists already and is complete; give --overwrite to replace it")
    if is_same:
        raise OutputError(
            f"{output} is encoded in {begun['shards']} parts, not {shard.num}; give --shard-num {begun['shards']}, "
            "--overwrite to begin again, or another --output"
        )
    differing = ", ".join(sorted(k for k in manifest if begun.get(k) != manifest[k]))
    raise OutputError(f"{output} holds embeddings made otherwise ({differing}); give --overwrite, or another --output")


def _begin(output: Path, manifest: dict[str, Any]) -> None:
    """Create a folder with its manifest, atomically in place of an old one, which readers keep."""
    prepared = partial_folder(output)
    remove(prepared)
    write_json_atomically(prepared / MANIFEST, manifest)
    move_into_place(prepared, output)


def _is_done(output: Path, manifest: dict[str, Any], shard: Shard) -> bool:
    if shard.num == 1:
        return is_complete(output)
    files = shard.files(output, manifest["documents"])
    return bool(files) and all(file.npy.is_file() for file, _ in files)


def _rows_done(file: RowFile, rows: int, dimension: int) -> int:
    """Return the number of rows of a file that are already written; raise if the file is of another shard."""
    if file.npy.is_file():
        if (found := described(file.npy, dimension).rows) != rows:
            raise EmbeddingsError(f"{file.npy} has {found} rows, not {rows}: it is of other shards; give --overwrite")
        return rows
    if (vectors := _kept_partial(_partial_of(file), rows, dimension)) is None:
        return 0
    return rows - int(_is_missing(vectors).sum())


def encode_window(
    file: RowFile, window: Sequence[Document], encoder: Encoder, encoding: Pipeline, progress: Progress
) -> None:
    """Encode consecutive documents into one file, leaving out batches that are already written."""
    if file.npy.is_file():
        return
    partial = _partial_of(file)
    vectors = _open_partial(partial, len(window), encoder.dimension)
    texts = [document.render(encoder.card.document.template) for document in window]
    # NaN marks rows that are not written yet; an incomplete batch is encoded again.
    for batch, embeddings in encoding.vectors(texts, _is_missing(vectors)):
        missing = int(_is_missing(vectors[batch]).sum())
        _refuse_unusable(embeddings, [window[i].docid for i in batch])
        vectors[batch] = embeddings
        progress.update(missing)
    vectors.flush()
    del vectors
    write_text_atomically(file.docid, "".join(f"{d.docid}\n" for d in window))
    partial.rename(file.npy)
    for killed in file.npy.parent.glob(f".{file.docid.name}.*.partial"):
        remove(killed)


def _is_missing(vectors: np.ndarray) -> np.ndarray:
    missing: np.ndarray = np.isnan(vectors).any(axis=1)
    return missing


def _partial_of(file: RowFile) -> Path:
    return file.npy.with_suffix(".partial")


def _open_partial(path: Path, rows: int, dimension: int) -> "np.memmap[Any, Any]":
    """Open the rows of an interrupted run, or make a file with rows of NaN."""
    if (kept := _kept_partial(path, rows, dimension)) is not None:
        return kept
    new = path.with_suffix(".new")
    # Writing all rows raises on a full disk, where a memory map would crash later.
    save_array(new, np.full((rows, dimension), np.nan, dtype=np.float32))
    new.rename(path)
    return np.lib.format.open_memmap(path, mode="r+")


def _kept_partial(path: Path, rows: int, dimension: int) -> "np.memmap[Any, Any] | None":
    """Return the rows of an interrupted run, [rows, D] float32, if there are any."""
    check_regular(path, EmbeddingsError)
    try:
        array = np.lib.format.open_memmap(path, mode="r+")
    except (FileNotFoundError, ValueError):  # missing or incomplete
        return None
    return array if array.shape == (rows, dimension) and array.dtype == np.float32 else None


def _refuse_unusable(embeddings: np.ndarray, docids: Sequence[str]) -> None:
    bad = np.flatnonzero(~is_usable(embeddings))
    if len(bad):
        raise EmbeddingsError(
            "the encoder gives a value that is NaN, infinite or too large to compute with for document "
            f"{docids[bad[0]]!r}; try --dtype float32"
        )

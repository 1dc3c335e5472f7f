"""Encoding a collection: windows of documents sorted by length, written row by row, resumed where it stopped."""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pyserini_jpq.data.collection import Collection, Document, Summary, check_template
from pyserini_jpq.encode.embeddings import MANIFEST, SCHEMA, Embeddings, RowFile, read_manifest, row_file
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.errors import EmbeddingsError, OutputError
from pyserini_jpq.files import (
    refuse_existing,
    remove,
    save_array,
    write_json_atomically,
    write_text_atomically,
    writing,
)

WINDOW = 16384
"""Documents sorted by length together: large enough that hardly anything is padded, 50 MB at 768 dimensions."""

_TOKENIZED_AT_ONCE = 256


@dataclass(frozen=True)
class Shard:
    """The part of a collection that one process encodes: part `id` of `num`, counted from 0."""

    id: int = 0
    num: int = 1

    def rows(self, documents: int) -> range:
        """Return the rows of this shard; the shards of a collection share its rows out evenly and in order."""
        return range(documents * self.id // self.num, documents * (self.id + 1) // self.num)


def encode_collection(
    collection: Collection,
    encoder: Encoder,
    entry: dict[str, Any],
    output: Path,
    *,
    shard: Shard | None = None,
    batch_size: int = 32,
    dtype: torch.dtype = torch.float32,
    overwrite: bool = False,
) -> Summary:
    """Encode the documents of a collection into a folder of embeddings.

    Rows that an interrupted run wrote are kept; several processes may each encode a shard into the same folder.

    Parameters
    ----------
    collection
        The documents.
    encoder
        The encoder, on the device to use.
    entry
        Name, card and weights hash, for the manifest.
    output
        The folder to write.
    shard
        The part to encode; all by default.
    batch_size
        Documents encoded at once.
    dtype
        What the backbone computes in; embeddings are float32 on disk whatever it is.
    overwrite
        Replace what `output` holds.

    Raises
    ------
    CollectionError
        If the collection holds something that cannot be used.
    OutputError
        If `output` is complete already, or was begun with other settings.
    EmbeddingsError
        If the encoder gives a value that is not finite.
    EncoderError
        If the card's template cannot be used.
    """
    check_template(encoder.card.document.template)
    shard = shard or Shard()
    summary = collection.scan()
    manifest = {
        "schema": SCHEMA,
        "documents": summary.documents,
        "dimension": encoder.dimension,
        "compute_dtype": str(dtype).removeprefix("torch."),
        "encoder": entry,
        "collection_sha256": summary.sha256,
    }
    _prepare_folder(output, manifest, shard, overwrite)
    rows = shard.rows(summary.documents)
    documents = islice(collection, rows.start, rows.stop)
    with (
        torch.inference_mode(),
        torch.autocast(encoder.device.type, dtype, enabled=dtype != torch.float32),
        tqdm(total=len(rows), desc="encoding", unit=" documents", smoothing=0.1) as progress,
    ):
        for start in range(rows.start, rows.stop, WINDOW):
            window = list(islice(documents, WINDOW))
            with writing(output):
                _encode_window(row_file(output, start), window, encoder, batch_size, progress)
    return summary


def _prepare_folder(output: Path, manifest: dict[str, Any], shard: Shard, overwrite: bool) -> None:
    """Begin the folder, or make sure that what it holds is a beginning of the same work."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give a folder as --output")
    if not output.exists():
        refuse_existing(output, overwrite)
    if (output / MANIFEST).is_file():
        begun = read_manifest(output)
        if begun != manifest and not overwrite:
            differing = ", ".join(sorted(k for k in manifest if begun.get(k) != manifest[k]))
            raise OutputError(
                f"{output} holds embeddings made otherwise ({differing}); give --overwrite, or another --output"
            )
        if begun == manifest and not _is_done(output, manifest, shard):
            return
        if not overwrite:
            raise OutputError(f"{output} exists already and is complete; give --overwrite to replace it")
    elif output.is_dir() and any(not file.name.startswith(".embeddings") for file in output.iterdir()):
        raise OutputError(f"{output} holds other files and no embeddings; give another --output")
    remove(output)
    _begin(output, manifest)


def _begin(output: Path, manifest: dict[str, Any]) -> None:
    """Make the folder with its manifest in one step: of several shards that start together, one makes it for all."""
    prepared = output.with_name(f".{output.name}.{os.getpid()}.partial")
    write_json_atomically(prepared / MANIFEST, manifest)
    try:
        os.rename(prepared, output)
    except OSError as problem:
        remove(prepared)
        if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if read_manifest(output) != manifest:
            raise OutputError(
                f"{output} was just begun by another run, in another way; give another --output"
            ) from None


def _is_done(output: Path, manifest: dict[str, Any], shard: Shard) -> bool:
    if shard.num == 1:
        try:
            Embeddings(output)
        except EmbeddingsError:
            return False
        return True
    rows = shard.rows(manifest["documents"])
    return len(rows) > 0 and all(row_file(output, s).npy.is_file() for s in range(rows.start, rows.stop, WINDOW))


def _encode_window(
    file: RowFile, window: Sequence[Document], encoder: Encoder, batch_size: int, progress: "tqdm[Any]"
) -> None:
    """Encode consecutive documents into one file; only batches that are not in it yet."""
    if file.npy.is_file():
        progress.update(len(window))
        progress.refresh()
        return
    partial = file.npy.with_suffix(".partial")
    vectors = _open_partial(partial, len(window), encoder.dimension)
    tokens = _tokens_of(window, encoder)
    for batch in _batches_by_length(tokens, batch_size):
        # NaN marks a row that no run has written yet; a batch cut off in the middle is encoded again whole.
        if np.isnan(vectors[batch]).any():
            embeddings = encoder(*encoder.pad([tokens[i] for i in batch])).float().cpu().numpy()
            _refuse_nonfinite(embeddings, [window[i].docid for i in batch])
            vectors[batch] = embeddings
        progress.update(len(batch))
    vectors.flush()
    del vectors
    write_text_atomically(file.docid, "".join(f"{d.docid}\n" for d in window))
    partial.rename(file.npy)


def _tokens_of(window: Sequence[Document], encoder: Encoder) -> list[list[int]]:
    """Tokenize documents a few at a time: a tokenizer holds far more of each than the ids that are kept."""
    side = encoder.card.document
    tokens: list[list[int]] = []
    for start in range(0, len(window), _TOKENIZED_AT_ONCE):
        part = window[start : start + _TOKENIZED_AT_ONCE]
        tokens += encoder.tokenize([document.render(side.template) for document in part], side)
    return tokens


def _open_partial(path: Path, rows: int, dimension: int) -> "np.memmap[Any, Any]":
    """Open the rows that an interrupted run left, or make a file of rows that are all NaN."""
    if path.is_file():
        try:
            array = np.lib.format.open_memmap(path, mode="r+")
            if array.shape == (rows, dimension):
                return array
        except ValueError:  # cut off while it was being made
            pass
    beside = path.with_suffix(".new")
    # All rows at once, so that a full disk shows here, not when the memory map is written to.
    save_array(beside, np.full((rows, dimension), np.nan, dtype=np.float32))
    beside.rename(path)
    return np.lib.format.open_memmap(path, mode="r+")


def _batches_by_length(tokens: Sequence[Sequence[int]], batch_size: int) -> Iterator[np.ndarray]:
    """Give batches of positions, longest first: memory is at its highest at once, and the time left only falls."""
    order = np.argsort([-len(row) for row in tokens], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _refuse_nonfinite(embeddings: np.ndarray, docids: Sequence[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise EmbeddingsError(
            f"the encoder gives a value that is NaN or infinite for document {docids[bad[0]]!r}; try --dtype float32"
        )

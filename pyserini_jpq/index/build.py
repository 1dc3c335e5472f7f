"""Building an index: a quantizer from a sample, then codes for all, block by block."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import (
    move_into_place,
    partial_folder,
    refuse_existing,
    remove,
    save_array,
    write_json_atomically,
)
from pyserini_jpq.index.faiss import Assigner, file_frame
from pyserini_jpq.index.folder import DOCID, INDEX, INITIAL_CENTROIDS, MANIFEST, Manifest, write_manifest
from pyserini_jpq.index.opq import check_shape, train_opq
from pyserini_jpq.quantizer import ProductQuantizer

BLOCK = 16384
"""Rows whose codes are assigned at once: 50 MB at 768 dimensions."""

_SETTINGS = "settings.json"
_ROTATION = "rotation.npy"


@dataclass(frozen=True)
class IndexSettings:
    """What decides how an index comes out: M, bits of a code, rows of the sample, seed."""

    m: int
    bits: int = 8
    sample: int = 65536
    seed: int = 42


def build_index(embeddings: Embeddings, settings: IndexSettings, output: Path, overwrite: bool = False) -> None:
    """Build an index folder from a folder of embeddings.

    Memory holds the sample and one block, whatever the number of documents. What an interrupted run had done
    (the quantizer, the codes of whole blocks) is kept beside the output, and the next run goes on from there.

    Parameters
    ----------
    embeddings
        [N, D] float32 on disk.
    settings
        M, bits, sample, seed.
    output
        The folder to write.
    overwrite
        Replace what is there.

    Raises
    ------
    QuantizerError
        If M does not divide D, or documents are fewer than centroids.
    EmbeddingsError
        If an embedding is not finite.
    OutputError
        If `output` exists and `overwrite` is false.
    """
    refuse_existing(output, overwrite, MANIFEST)
    check_shape(embeddings.dimension, settings.m, settings.bits, min(embeddings.documents, settings.sample))
    folder = _begin(embeddings, settings, output)
    try:
        quantizer = _quantizer(embeddings, settings, folder)
        _write_codes(embeddings, quantizer, folder)
        _write_docids(embeddings, folder)
    except JPQError:
        remove(folder)
        raise
    _finish(embeddings, quantizer, folder)
    move_into_place(folder, output)


def _begin(embeddings: Embeddings, settings: IndexSettings, output: Path) -> Path:
    """Open the folder that an interrupted run of the same work left, or an empty one."""
    folder = partial_folder(output)
    work: dict[str, Any] = {
        "embeddings": embeddings.manifest,
        "files": [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in sorted(embeddings.folder.glob("rows-*"))],
        "settings": vars(settings),
    }
    try:
        if json.loads((folder / _SETTINGS).read_text(encoding="utf-8")) == work:
            return folder
    except (OSError, ValueError):
        pass
    remove(folder)
    folder.mkdir(parents=True)
    write_json_atomically(folder / _SETTINGS, work)
    return folder


def _quantizer(embeddings: Embeddings, settings: IndexSettings, folder: Path) -> ProductQuantizer:
    try:
        return ProductQuantizer(np.load(folder / _ROTATION), np.load(folder / INITIAL_CENTROIDS))
    except (OSError, ValueError, EOFError):
        pass
    sample = embeddings.sample(settings.sample, settings.seed)
    quantizer = train_opq(sample, settings.m, settings.bits, settings.seed)
    save_array(folder / _ROTATION, quantizer.rotation)
    save_array(folder / INITIAL_CENTROIDS, quantizer.centroids)
    return quantizer


def _write_codes(embeddings: Embeddings, quantizer: ProductQuantizer, folder: Path) -> None:
    """Write the faiss file: its head, the codes block by block, its tail."""
    head, tail = file_frame(quantizer, embeddings.documents)
    path = folder / INDEX
    with open(path, "r+b" if path.exists() else "w+b") as file:
        done = _rows_done(file, head, quantizer.m)
        assigner = Assigner(quantizer)
        row = 0
        with tqdm(total=embeddings.documents, desc="assigning codes", unit=" documents") as progress:
            for block in embeddings.blocks(BLOCK):
                if row >= done:
                    file.write(assigner.assign(block).tobytes())
                row += len(block)
                progress.update(len(block))
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())


def _rows_done(file: BinaryIO, head: bytes, code_size: int) -> int:
    """Find how many whole blocks of codes stand in the file, and set it to go on after them."""
    if file.read(len(head)) != head:
        file.seek(0)
        file.truncate()
        file.write(head)
        return 0
    codes = file.seek(0, os.SEEK_END) - len(head)
    # The last block may be cut off, and the tail may follow the last row; both are written again.
    done = max(0, codes // code_size - 1) // BLOCK * BLOCK
    file.seek(len(head) + done * code_size)
    file.truncate()
    return done


def _write_docids(embeddings: Embeddings, folder: Path) -> None:
    with open(folder / DOCID, "w", encoding="utf-8", newline="\n") as file:
        for docid in embeddings.docids():
            file.write(f"{docid}\n")


def _finish(embeddings: Embeddings, quantizer: ProductQuantizer, folder: Path) -> None:
    manifest = Manifest(
        documents=embeddings.documents,
        dimension=quantizer.dimension,
        m=quantizer.m,
        bits=quantizer.bits,
        bytes_per_document=quantizer.bytes_per_document,
        document_encoder=embeddings.encoder,
        query_encoder=embeddings.encoder,
    )
    write_manifest(folder, manifest)
    (folder / _SETTINGS).unlink()
    (folder / _ROTATION).unlink()

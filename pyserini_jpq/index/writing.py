"""Write an index folder beside its final path, codes block by block, and resume an interrupted run."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import (
    exclusive,
    link_or_copy,
    move_into_place,
    partial_folder,
    refuse_existing,
    regular,
    remove,
    write_json_atomically,
    writing,
)
from pyserini_jpq.index.assign import Assigner
from pyserini_jpq.index.blocks import write_blocks
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.faiss_format import file_frame, pack, stored_codes, unpack
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import (
    BLOCKS,
    DOCID,
    DOCUMENT_MAP,
    INDEX,
    INITIAL_CENTROIDS,
    IVF,
    MANIFEST,
    VECTORS,
    Manifest,
    write_manifest,
)
from pyserini_jpq.index.shards_file import SHARDS
from pyserini_jpq.quantizer import Codes, ProductQuantizer
from pyserini_jpq.trust.plain import read_json

if TYPE_CHECKING:
    from pyserini_jpq.index.additive import AdditiveAssigner

BLOCK = 16384
"""Rows per block, whose codes are assigned at once: 100 MB at 768 dimensions."""

_SETTINGS = ".settings.json"
_OURS = re.compile(r"\..*\.partial|\.lock")
"""Names of the temporary files of writers."""

Block = tuple[int, Callable[[], Codes]]
"""A number of rows, and a function that returns their codes; not called for rows that are already written."""


@contextlib.contextmanager
def new_index(output: Path, work: dict[str, Any], overwrite: bool) -> Iterator[Path]:
    """Yield the folder in which a new index is prepared, as `preparing` does.

    Raises
    ------
    OutputError
        If `output` exists and may not be replaced, or another process writes it.
    """
    marker = marker_of(output)
    refuse_existing(output, overwrite, marker)
    with preparing(output, work) as folder:
        refuse_existing(output, overwrite, marker)  # another process may have finished it since
        yield folder


def marker_of(output: Path) -> str:
    """Return the file that tells that a folder is an index, in shards or not."""
    return SHARDS if (output / SHARDS).is_file() else MANIFEST


@contextlib.contextmanager
def preparing(output: Path, work: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder that an interrupted run of the same work left beside the output, or an empty one.

    The folder stays if the block is interrupted, and is removed if it raises JPQError.

    Parameters
    ----------
    output
        Path of the index.
    work
        JSON values that determine the result.

    Raises
    ------
    OutputError
        If another process writes this output.
    """
    with exclusive(output):
        folder = begun(partial_folder(output), work)
        try:
            yield folder
        except JPQError:
            remove(folder)
            raise


def begun(folder: Path, work: dict[str, Any]) -> Path:
    """Return the folder that an interrupted run of the same work left, or an empty one."""
    try:
        if read_json(folder / _SETTINGS) == json.loads(json.dumps(work)):
            for killed in folder.glob(".*-????????.partial"):  # of `beside`
                remove(killed)
            return folder
    except (OSError, ValueError):
        pass
    remove(folder)
    folder.mkdir(parents=True)
    write_json_atomically(folder / _SETTINGS, work)
    return folder


def identity(embeddings: Embeddings) -> dict[str, Any]:
    """Return values that differ between folders of embeddings, and change with them."""
    files = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in sorted(embeddings.folder.glob("rows-*"))]
    return {"manifest": embeddings.manifest, "files": files}


def assigned(embeddings: Embeddings, assigner: "Assigner | AdditiveAssigner") -> Iterator[Block]:
    """Yield the codes of embeddings, block by block; of coded documents as they are."""
    for block in embeddings.blocks(BLOCK):
        codes: Callable[..., Codes] = np.array if block.dtype == np.uint8 else assigner.assign
        yield len(block), partial(codes, block)


def kept(stored: Codes, rows: np.ndarray, packed: ProductQuantizer | None = None) -> Iterator[Block]:
    """Yield the codes of some rows of an index, block by block.

    Parameters
    ----------
    stored
        [N, M] uint8, or with `packed` [N, bytes of a document] uint8.
    rows
        [n] int64.
    packed
        The quantizer, if codes are packed as faiss stores them.
    """

    def codes(part: np.ndarray) -> Codes:
        return stored[part] if packed is None else unpack(stored[part], packed.m, packed.bits)

    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        yield len(part), partial(codes, part)


def write_codes(
    folder: Path,
    quantizer: ProductQuantizer,
    documents: int,
    blocks: Iterable[Block],
    what: str = "assigning codes",
) -> None:
    """Write the faiss file: its head, the codes block by block, its tail; memory holds one block.

    Parameters
    ----------
    folder
        Folder of `preparing`.
    quantizer
        Rotation and scoring centroids.
    documents
        Number of documents N.
    blocks
        Codes of N rows in blocks, [n, M] uint8 each, not packed.
    what
        Text of the progress bar.
    """
    head, tail = file_frame(quantizer, documents)
    path = folder / INDEX
    with writing(path), open(path, "r+b" if path.exists() else "w+b", opener=regular()) as file:
        done = _rows_done(file, head, quantizer.bytes_per_document, documents)
        row = 0
        with Progress(total=documents, initial=done, desc=what, unit=" documents") as progress:
            for rows, codes in blocks:
                if row + rows > done:
                    new = codes()[max(0, done - row) :]
                    file.write(pack(new, quantizer.bits).tobytes())
                    progress.update(len(new))
                row += rows
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())


def write_docids(folder: Path, docids: Iterable[str]) -> None:
    """Write the docids, one per line, in row order."""
    with open(folder / DOCID, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{docid}\n" for docid in docids)


def carry_assignment(index: IndexFolder, folder: Path) -> None:
    """Copy what assigns codes, so that it assigns those of later documents: initial centroids, and a document map."""
    for name in (INITIAL_CENTROIDS, *([DOCUMENT_MAP] if index.manifest.documents_mapped else [])):
        shutil.copyfile(index.parts[0].path / name, folder / name)


def keep_others(index: IndexFolder, folder: Path) -> tuple[str, ...]:
    """Carry over the files of an index that do not depend on its documents: the log of its training, a user's files.

    Files that `jpq.json` lists depend on the documents: `folder` has new ones, or none.

    Parameters
    ----------
    index
        The index.
    folder
        The new folder.

    Returns
    -------
    tuple of str
        The files that depend on the documents and are not rebuilt, such as inverted lists.
    """
    ours = {*index.manifest.files, MANIFEST, BLOCKS, IVF, VECTORS}
    for entry in index.path.iterdir():
        if entry.name not in ours and not _OURS.fullmatch(entry.name):
            remove(folder / entry.name)  # of an interrupted run
            _take(entry, folder / entry.name)
    return tuple(sorted(name for name in ours - {BLOCKS} if (index.path / name).exists() > (folder / name).exists()))


def _take(entry: Path, target: Path) -> None:
    if entry.is_symlink():
        target.symlink_to(os.readlink(entry))
    elif entry.is_dir():
        shutil.copytree(entry, target, symlinks=True, copy_function=lambda *two: link_or_copy(*map(Path, two)))
    else:
        link_or_copy(entry, target)


def put_into_place(folder: Path, output: Path) -> None:
    """Move a finished folder of `preparing` to its final path."""
    (folder / _SETTINGS).unlink()
    move_into_place(folder, output)


def finish(
    folder: Path, manifest: Manifest, output: Path, blocks: bool, check: Callable[[], object] = lambda: None
) -> None:
    """Write the manifest, open the index for a check, and move the folder to its final path.

    Parameters
    ----------
    folder
        Folder of `preparing`.
    manifest
        Manifest of the index, without files.
    output
        Path of the index.
    blocks
        Write blocks, for a faster search.
    check
        Called last; if it raises, `output` is not replaced.

    Raises
    ------
    IndexFolderError
        If the new index cannot be opened; `output` is not replaced.
    """
    remove(folder / BLOCKS)  # of an interrupted run
    if blocks:
        index = read_faiss(folder / INDEX, mapped=True)
        write_blocks(folder / BLOCKS, stored_codes(index, folder))
    write_manifest(folder, manifest)
    written = IndexFolder(folder)
    written.read(mapped=True)
    Docids(folder / DOCID, written.manifest.documents)
    check()
    put_into_place(folder, output)


def _rows_done(file: BinaryIO, head: bytes, code_size: int, documents: int) -> int:
    """Return the number of complete rows in the file, and set it to continue after them."""
    if file.read(len(head)) != head:
        file.seek(0)
        file.truncate()
        file.write(head)
        return 0
    codes = file.seek(0, os.SEEK_END) - len(head)
    # The last row may be incomplete, or followed by the tail.
    done = min(codes // code_size, documents)
    file.seek(len(head) + done * code_size)
    file.truncate()
    return done

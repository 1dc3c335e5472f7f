"""Append, replace and delete documents: a new folder is written, then replaces the old one."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pyserini_jpq.data.collection import Collection as Documents
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import exclusive
from pyserini_jpq.index.assign import assigner_of, assigning_quantizer
from pyserini_jpq.index.encoders import check_document_encoder
from pyserini_jpq.index.faiss_format import quantizer_of, stored_codes
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.texts import carry_texts, check_texts
from pyserini_jpq.index.vectors import carry_vectors
from pyserini_jpq.index.writing import (
    Block,
    assigned,
    carry_assignment,
    finish,
    identity,
    keep_others,
    kept,
    preparing,
    write_codes,
    write_docids,
)


@dataclass(frozen=True)
class Changed:
    """Numbers of documents appended, replaced, deleted, and in the index now.

    `dropped` names files of the old documents that were not rebuilt: inverted lists.
    """

    appended: int
    replaced: int
    deleted: int
    documents: int
    dropped: tuple[str, ...] = ()


def change_index(
    index: IndexFolder,
    embeddings: Embeddings | None = None,
    delete: Collection[str] = (),
    replace: bool = False,
    any_encoder: bool = False,
    texts: str | Path | Documents | None = None,
) -> Changed:
    """Delete documents from an index and append others, atomically.

    Codes are assigned with the initial centroids and scored with the trained ones. The result does not depend on the
    number of calls. A replaced document moves to the end.

    Parameters
    ----------
    index
        The index.
    embeddings
        [N, D] float32 on disk, of the documents to append.
    delete
        Docids to delete.
    replace
        Replace documents that the index already holds, instead of raising.
    any_encoder
        Accept embeddings of another or an unknown encoder.
    texts
        The collection of the new documents, if the index keeps texts.

    Returns
    -------
    Changed
        The numbers of documents.

    Raises
    ------
    EncoderError
        If the embeddings are not of the index's document encoder.
    IndexFolderError
        If a docid to append exists already, one to delete does not, no document would be left, the initial centroids
        are unknown, or another process has changed the index since it was opened.
    EmbeddingsError
        If a docid of the embeddings is repeated, or not usable in a run.
    OutputError
        If another process writes the index.
    """
    with exclusive(index.path):
        index.check_unchanged()
        check_texts(index, embeddings is not None, texts)
        if embeddings is not None:
            check_document_encoder(index, embeddings, any_encoder)
            embeddings.check_docids()
        new = dict.fromkeys(embeddings.docids()) if embeddings else {}
        old = index.docids()
        rows, replaced = _rows_kept(index, old, new, set(delete), replace)
        documents = len(rows) + len(new)
        if not documents:
            raise IndexFolderError(f"{index.path} would hold no document any more; remove the folder instead")
        gone = set(old) - {old[row] for row in rows} if len(rows) < len(old) else set()
        carried = partial(carry_texts, index, gone=gone, added=new, corpus=texts)
        dropped = _rewrite(index, embeddings, rows, (*(old[row] for row in rows), *new), carried)
    return Changed(len(new) - replaced, replaced, len(old) - replaced - len(rows), documents, dropped)


def _rows_kept(
    index: IndexFolder, old: list[str], new: Collection[str], delete: set[str], replace: bool
) -> tuple[np.ndarray, int]:
    """Return the rows that stay, [n] int64, and the number of replaced documents."""
    deleted = np.fromiter((docid in delete for docid in old), dtype=bool, count=len(old))
    if missing := delete - {old[row] for row in np.flatnonzero(deleted)}:
        raise IndexFolderError(
            f"{index.path} holds no document {min(missing)!r}{and_more(missing)}, so it cannot be deleted; "
            "nothing was changed"
        )
    there = np.fromiter((docid in new for docid in old), dtype=bool, count=len(old)) & ~deleted
    if there.any() and not replace:
        found = [old[row] for row in np.flatnonzero(there)]
        raise IndexFolderError(
            f"{index.path} holds document {found[0]!r}{and_more(found)} already; give --replace to replace them, or "
            "leave them out; nothing was changed"
        )
    return np.flatnonzero(~deleted & ~there), int(there.sum())


def and_more(docids: Collection[str]) -> str:
    """Return how many other docids there are than the first, for a message."""
    return f" (and {len(docids) - 1} others)" if len(docids) > 1 else ""


def _rewrite(
    index: IndexFolder,
    embeddings: Embeddings | None,
    rows: np.ndarray,
    docids: tuple[str, ...],
    carry: Callable[[Path], None],
) -> tuple[str, ...]:
    """Write a new folder in place of the old one; return the names of files that are not rebuilt."""
    faiss_index = index.read(mapped=True)
    scoring = quantizer_of(faiss_index, index.path)
    blocks: list[Iterable[Block]] = [kept(stored_codes(faiss_index, index.path), rows, scoring)]
    work = {"index": index.manifest.files, "rows": hashlib.sha256(rows.tobytes()).hexdigest()}
    if embeddings is not None:
        blocks.append(assigned(embeddings, assigner_of(assigning_quantizer(index, scoring))))
        work["embeddings"] = identity(embeddings)
    output = index.path.resolve()  # the folder, not a link to it
    with preparing(output, work) as folder:
        write_codes(folder, scoring, len(docids), (block for part in blocks for block in part))
        write_docids(folder, docids)
        carry_assignment(index, folder)
        carry(folder)
        carry_vectors(index, folder, rows, embeddings)
        # No folder of embeddings has the rows of this index now.
        manifest = dataclasses.replace(index.manifest, documents=len(docids), embeddings=None)
        dropped: list[str] = []

        def last() -> None:
            dropped.extend(keep_others(index, folder))
            index.check_unchanged()

        finish(folder, manifest, output, index.blocks is not None, last)
    return tuple(dropped)

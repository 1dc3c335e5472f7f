"""Change an index in shards: add, replace and drop shards, append and delete documents.

A shard that changes becomes a new folder, which takes its place in `shards.json` at once; then the old one is removed.
"""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from pyserini_jpq.data.collection import Collection as Documents
from pyserini_jpq.data.ids import check_docids
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import exclusive, link_or_copy, remove
from pyserini_jpq.index.change import Changed, and_more, change_index
from pyserini_jpq.index.encoders import moved_entry
from pyserini_jpq.index.faiss_format import quantizer_of
from pyserini_jpq.index.folder import IndexFolder, find_index
from pyserini_jpq.index.joined import JoinedDocids
from pyserini_jpq.index.manifest import DOCUMENT_MAP, FILES, INITIAL_CENTROIDS, IVF, text_files, write_fields
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.index.shards import ShardedIndex
from pyserini_jpq.index.shards_file import Shard, ShardList, name_of, number_of, read_shards
from pyserini_jpq.index.shards_ivf import add_lists


def add_shard(index: str | Path, folder: str | Path) -> ShardedIndex:
    """Copy an index into an index in shards, as its last shard.

    Files are linked where the file system can. If all shards have inverted lists, the new one gets some, too, by the
    same directions.

    Parameters
    ----------
    index
        Path or name of the index in shards.
    folder
        Path or name of an index of the same quantizer, such as one built with `quantizer_of=index`.

    Raises
    ------
    IndexFolderError
        If it is of another quantizer or other encoders, keeps texts where the others do not, or holds a document that
        another shard holds.
    """
    path = find_index(str(index))
    with _changing(path) as shards:
        _take(path, shards, shards.shards, len(shards.shards), folder)
    return ShardedIndex(path)


def replace_shard(index: str | Path, name: str, folder: str | Path) -> ShardedIndex:
    """Put a copy of an index in the place of a shard, which may be damaged; else as `add_shard`."""
    path = find_index(str(index))
    with _changing(path) as shards:
        place = shards.place(name, path)
        others = [shard for shard in shards.shards if shard.name != name]
        _take(path, shards, others, place, folder)
    return ShardedIndex(path)


def drop_shard(index: str | Path, name: str) -> ShardedIndex:
    """Remove a shard, which may be missing or damaged, with its documents.

    Raises
    ------
    IndexFolderError
        If there is no such shard, or no other.
    """
    path = find_index(str(index))
    with _changing(path) as shards:
        place = shards.place(name, path)
        if len(shards.shards) == 1:
            raise IndexFolderError(f"{path} has no other shard than {name}; remove the folder instead")
        shards.changed([*shards.shards[:place], *shards.shards[place + 1 :]]).write(path)
    return ShardedIndex(path)


def change(
    index: IndexFolder,
    embeddings: Embeddings | None = None,
    delete: Collection[str] = (),
    replace: bool = False,
    any_encoder: bool = False,
    texts: str | Path | Documents | None = None,
) -> Changed:
    """Delete documents from an index, in shards or not, and append others, atomically, as `change_index`.

    In an index in shards documents are appended to the last shard, and a shard without documents is dropped.
    """
    if not isinstance(index, ShardedIndex):
        return change_index(index, embeddings, delete, replace, any_encoder, texts)
    with _changing(index.path) as shards:
        index.check_unchanged()
        new = set(embeddings.docids()) if embeddings else set()
        gone, replaced = _gone(index, new, set(delete), replace)
        kept: list[Shard] = []
        dropped: set[str] = set()
        for part, shard, docids in zip(index.parts, shards.shards, gone, strict=True):
            added = embeddings if part is index.parts[-1] else None
            if not docids and added is None:
                kept.append(shard)
            elif added is not None or len(docids) < shard.documents:
                changed, without = _changed(index, part, added, docids, any_encoder, texts)
                kept.append(changed)
                dropped.update(without)
        if not kept:
            raise IndexFolderError(f"{index.path} would hold no document any more; remove the folder instead")
        shards.changed(kept).write(index.path)
    documents = sum(shard.documents for shard in kept)
    return Changed(len(new) - replaced, replaced, len(set(delete)), documents, tuple(sorted(dropped)))


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[ShardList]:
    """Lock an index in shards, yield its list, and remove the folders of shards that it does not list at the end."""
    with exclusive(path):
        try:
            yield read_shards(path)
        finally:
            listed = {shard.name for shard in read_shards(path).shards}
            for entry in path.iterdir():
                if number_of(entry.name) is not None and entry.name not in listed:
                    remove(entry)


def _take(path: Path, shards: ShardList, others: Sequence[Shard], place: int, folder: str | Path) -> None:
    """Copy an index to a new shard, check that it fits the other shards, and list it."""
    source = open_folder(folder)
    if isinstance(source, ShardedIndex):
        raise IndexFolderError(f"{source.path} is an index in shards itself; give an ordinary one")
    parts = [IndexFolder(path / shard.name) for shard in others]
    _check_fits(path, shards, source, parts)
    check_docids(lambda: JoinedDocids([i.open_docids() for i in (*parts, source)]), str(path), IndexFolderError)
    name = _copied(source, path, IVF)
    if _have_lists(parts):
        add_lists(IndexFolder(path / name), parts[0])
    source.check_unchanged()
    new = Shard.of(name, IndexFolder(path / name).manifest)
    kept = [shard for shard in shards.shards if shard in others]
    shards.changed([*kept[:place], new, *kept[place:]]).write(path)


def _check_fits(path: Path, shards: ShardList, source: IndexFolder, parts: Sequence[IndexFolder]) -> None:
    """Raise IndexFolderError if an index cannot be a shard beside others."""
    whole, own = shards.manifest, source.manifest
    again = f"build it with `python -m pyserini_jpq.index --from {path} --embeddings …`"
    if own.files[INITIAL_CENTROIDS] != shards.shards[0].files[INITIAL_CENTROIDS] or (own.m, own.bits) != (
        whole.m,
        whole.bits,
    ):
        raise IndexFolderError(f"{source.path} is of another quantizer than {path}; {again}")
    for what in ("document_encoder", "query_encoder"):
        if getattr(own, what)["sha256"] != getattr(whole, what)["sha256"]:
            raise IndexFolderError(f"{source.path} has another {what.replace('_', ' ')} than {path}; {again}")
    for part in parts[:1]:
        if own.files.get(DOCUMENT_MAP) != part.manifest.files.get(DOCUMENT_MAP):
            raise IndexFolderError(f"the documents of {source.path} are mapped otherwise than those of {path}; {again}")
        one, other = (vars(quantizer_of(i.read(mapped=True), i.path)) for i in (source, part))
        if one.keys() != other.keys() or not all(np.array_equal(one[name], other[name]) for name in one):
            raise IndexFolderError(f"{source.path} is of another quantizer than {path}; {again}")
        if bool(text_files(own.files)) != bool(text_files(part.manifest.files)):
            raise IndexFolderError(
                f"only one of {source.path} and {path} keeps the texts of documents; `python -m pyserini_jpq.index "
                "--index … --texts CORPUS` keeps them in the other"
            )


def _copied(source: IndexFolder, path: Path, *without: str) -> str:
    """Link or copy the files of an index to the folder of a new shard; return its name."""
    name = name_of(1 + max(number_of(entry.name) or 0 for entry in path.iterdir()))
    target = path / name
    target.mkdir()
    files = {file: entry for file, entry in source.manifest.files.items() if file not in without}
    for file in files:
        if file in (*FILES, DOCUMENT_MAP) or (source.path / file).is_file():  # a user may delete an optional one
            link_or_copy(source.path / file, target / file)
    documents, queries = (
        moved_entry(entry, source.path, target)
        for entry in (source.manifest.document_encoder, source.manifest.query_encoder)
    )
    write_fields(
        target, dataclasses.replace(source.manifest, files=files, document_encoder=documents, query_encoder=queries)
    )
    return name


def _have_lists(parts: Sequence[IndexFolder]) -> bool:
    return bool(parts) and all((part.path / IVF).is_file() for part in parts)


def _gone(index: ShardedIndex, new: Collection[str], delete: set[str], replace: bool) -> tuple[list[set[str]], int]:
    """Return the docids that each shard loses, and the number of those that are replaced."""
    deleted: list[set[str]] = []
    there: list[set[str]] = []
    for part in index.parts:
        docids = part.docids()
        deleted.append(delete.intersection(docids))
        there.append({docid for docid in docids if docid in new} - delete)
    if missing := delete.difference(*deleted):
        raise IndexFolderError(
            f"{index.path} holds no document {min(missing)!r}{and_more(missing)}, so it cannot be deleted; nothing "
            "was changed"
        )
    if (found := set().union(*there)) and not replace:
        raise IndexFolderError(
            f"{index.path} holds document {min(found)!r}{and_more(found)} already; give --replace to replace them, or "
            "leave them out; nothing was changed"
        )
    return [one | other for one, other in zip(deleted, there, strict=True)], len(found)


def _changed(
    index: ShardedIndex,
    part: IndexFolder,
    embeddings: Embeddings | None,
    gone: Collection[str],
    any_encoder: bool,
    texts: str | Path | Documents | None,
) -> tuple[Shard, tuple[str, ...]]:
    """Write a changed copy of a shard; return its entry, and the names of files that it lacks now."""
    copy = IndexFolder(index.path / _copied(part, index.path))
    done = change_index(copy, embeddings, gone, False, any_encoder, texts if embeddings is not None else None)
    found = IndexFolder(copy.path)
    dropped = set(done.dropped)
    if IVF in dropped and _have_lists(index.parts):
        add_lists(found, part)
        dropped.discard(IVF)
    return Shard.of(found.path.name, found.manifest), tuple(dropped)

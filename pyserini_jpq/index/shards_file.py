"""The file `shards.json` of an index in shards: what `jpq.json` says of an index, and the shards in row order."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.files import write_json_atomically
from pyserini_jpq.index.manifest import FIELDS, FILES, INITIAL_CENTROIDS, Manifest
from pyserini_jpq.trust.fields import is_count, is_file_list, object_of, wrong_fields
from pyserini_jpq.trust.plain import NotPlain, read_json_object

SHARDS = "shards.json"
SCHEMA = 1

_NAME = re.compile(r"shard-[0-9]{5}")
_SHARED = ("dimension", "m", "bits", "bytes_per_document", "documents_mapped")


@dataclass(frozen=True)
class Shard:
    """The entry of a shard.

    Attributes
    ----------
    name
        Name of its folder, `shard-00000` and so on.
    documents
        Number of its documents.
    files
        Size and SHA-256 of its files that every index has, as its `jpq.json` says.
    """

    name: str
    documents: int
    files: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, name: str, manifest: Manifest) -> "Shard":
        """Return the entry of a shard with this manifest."""
        return cls(name, manifest.documents, {file: manifest.files[file] for file in FILES})


@dataclass(frozen=True)
class ShardList:
    """The content of `shards.json`.

    Attributes
    ----------
    manifest
        What holds for the whole; its `documents` and `files` are those of all shards together.
    shards
        The shards in row order.
    """

    manifest: Manifest
    shards: tuple[Shard, ...]

    def changed(self, shards: Sequence[Shard]) -> "ShardList":
        """Return the list with other shards, whose rows are those of no folder of embeddings."""
        return ShardList(replace(together(self.manifest, shards), embeddings=None), tuple(shards))

    def place(self, name: str, path: Path) -> int:
        """Return the position of a shard; raise IndexFolderError if there is none of that name."""
        names = [shard.name for shard in self.shards]
        if name not in names:
            raise IndexFolderError(f"{path} has no shard {name!r}; its shards are {', '.join(names)}")
        return names.index(name)

    def write(self, folder: Path) -> None:
        """Write `shards.json`, atomically."""
        fields = {name: value for name, value in asdict(self.manifest).items() if name not in ("files", "schema")}
        shards = [asdict(shard) for shard in self.shards]
        write_json_atomically(folder / SHARDS, {"schema": SCHEMA, **fields, "shards": shards})


def together(manifest: Manifest, shards: Sequence[Shard]) -> Manifest:
    """Return a manifest for shards together: documents and sizes are summed, hashes are those of the shards' hashes."""
    files = {name: _joined([shard.files[name] for shard in shards]) for name in FILES}
    return replace(manifest, documents=sum(shard.documents for shard in shards), files=files)


def number_of(name: str) -> int | None:
    """Return the number of a shard from the name of its folder; None for any other name."""
    return int(name.removeprefix("shard-")) if _NAME.fullmatch(name) else None


def name_of(number: int) -> str:
    """Return the name of a shard's folder."""
    return f"shard-{number:05}"


def read_shards(folder: Path) -> ShardList:
    """Read `shards.json`; the shards themselves are not looked at.

    Raises
    ------
    IndexFolderError
        If it is missing, damaged, or of another version.
    """
    path = folder / SHARDS
    try:
        values = read_json_object(path)
    except FileNotFoundError:
        raise IndexFolderError(f"{folder} is no index in shards: {SHARDS} is missing") from None
    except NotPlain as problem:
        raise _damaged(path, str(problem)) from None
    if (schema := values.pop("schema", None)) != SCHEMA or type(schema) is not int:
        raise IndexFolderError(f"{path} has schema {schema!r}, this version reads {SCHEMA}; use the one that wrote it")
    if wrong := wrong_fields(values, _FIELDS):
        raise _damaged(path, ", ".join(wrong))
    try:
        shards = tuple(Shard(**shard) for shard in values.pop("shards"))
        if "files" in values:
            raise TypeError("an unknown field, files")
        manifest = Manifest(**values)
    except (TypeError, KeyError) as problem:
        raise _damaged(path, str(problem)) from None
    if manifest.documents != sum(shard.documents for shard in shards):
        raise _damaged(path, "the documents of the shards are not those of the whole")
    if not manifest.m or not 0 < manifest.bits <= 8 or manifest.dimension % manifest.m:
        raise _damaged(path, "dimension, m, bits")
    return ShardList(together(manifest, shards), shards)


def fits(shard: Shard, found: Manifest, whole: Manifest) -> str | None:
    """Return in what a shard's own manifest differs from its entry or from the whole; None for nothing."""
    for name in FILES:
        if found.files.get(name) != shard.files[name]:
            return f"its {name} is not the one that {SHARDS} lists"
    if found.documents != shard.documents:
        return f"it has {found.documents} documents, {SHARDS} says {shard.documents}"
    for name in _SHARED:
        if getattr(found, name) != getattr(whole, name):
            return f"its {name} is {getattr(found, name)}, {SHARDS} says {getattr(whole, name)}"
    return None


def _joined(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    hashes = "".join(entry["sha256"] for entry in entries).encode()
    return {"bytes": sum(entry["bytes"] for entry in entries), "sha256": hashlib.sha256(hashes).hexdigest()}


def _damaged(path: Path, what: str) -> IndexFolderError:
    return IndexFolderError(f"{path} is damaged ({what}); copy it again, or make the index again")


_SHARD = object_of(
    {
        "name": lambda value: type(value) is str and _NAME.fullmatch(value) is not None,
        "documents": is_count,
        "files": lambda value: is_file_list(value) and set(value) == set(FILES),
    }
)


def _are_shards(value: Any) -> bool:
    if type(value) is not list or not value or not all(map(_SHARD, value)):
        return False
    centroids = {shard["files"][INITIAL_CENTROIDS]["sha256"] for shard in value}
    return len({shard["name"] for shard in value}) == len(value) and len(centroids) == 1


_FIELDS: dict[str, Any] = {**FIELDS, "shards": _are_shards}

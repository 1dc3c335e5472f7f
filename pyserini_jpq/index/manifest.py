"""What `jpq.json` says of an index, and the names of the files that it lists."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pyserini_jpq.files import sha256_of, write_json_atomically
from pyserini_jpq.trust.fields import ENCODER, is_count, is_file_list, is_object, is_text, or_none

SCHEMA = 1
INDEX = "index"
DOCID = "docid"
MANIFEST = "jpq.json"
INITIAL_CENTROIDS = "initial_centroids.npy"
FILES = (INDEX, DOCID, INITIAL_CENTROIDS)
BLOCKS = "blocks"
"""Need not be there: older folders and those of others have none, and a user may delete it to save its space."""
IVF = "ivf"
"""Nor need this: inverted lists, beside the index for a search that asks for them."""
TEXTS = "texts"
"""Nor these: the documents' texts; files after the first are called `texts.1`, `texts.2` and so on."""


@dataclass(frozen=True)
class Manifest:
    """What `jpq.json` says of an index.

    Attributes
    ----------
    documents, dimension, m, bits
        N, D, M, and bits of a code.
    bytes_per_document
        Bytes of the codes of a document.
    document_encoder, query_encoder
        `name`, `card`, `sha256` of the weights, and `folder` (relative to the index folder) for one that was built
        here. The two are the same until training.
    training
        The recipe and what it reached; None for an index that was not trained.
    metric
        Always inner product.
    schema
        Version of this layout.
    embeddings
        The folder of embeddings that codes were assigned from, relative to the index folder; None if not known.
    initial_centroids_known
        Whether `initial_centroids.npy` holds the centroids that codes were assigned with. False for an index that was
        imported after training, without them: then it holds the trained ones, and no document can be appended.
    files
        Size and SHA-256 of every other file.
    """

    documents: int
    dimension: int
    m: int
    bits: int
    bytes_per_document: int
    document_encoder: dict[str, Any]
    query_encoder: dict[str, Any]
    training: dict[str, Any] | None = None
    metric: str = "inner_product"
    schema: int = SCHEMA
    embeddings: str | None = None
    initial_centroids_known: bool = True
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `jpq.json` with the sizes and hashes of the files that the folder holds now."""
    there = [path.name for path in folder.iterdir()]
    names = [*FILES, *(name for name in (BLOCKS, *text_files(there)) if name in there)]
    write_fields(folder, replace(manifest, files={name: described(folder / name) for name in names}))


_TEXT_NUMBER = re.compile("[1-9][0-9]{0,5}")


def text_files(names: Iterable[str]) -> list[str]:
    """Return those names of files that are texts', in the order in which they were written."""
    return sorted((name for name in names if is_text_file(name)), key=number_of)


def is_text_file(name: str) -> bool:
    """Tell whether a file of an index folder holds texts, by its name."""
    head, dot, number = name.partition(".")
    return head == TEXTS and (not dot or bool(_TEXT_NUMBER.fullmatch(number)))


def number_of(name: str) -> int:
    """Return the number of a file of texts; 0 for the first."""
    return int(name.partition(".")[2] or 0)


def described(path: Path) -> dict[str, Any]:
    """Return the size and the SHA-256 of a file, as the manifest lists them."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def write_fields(folder: Path, manifest: Manifest) -> None:
    """Write `jpq.json` as it is given."""
    write_json_atomically(folder / MANIFEST, asdict(manifest))


FIELDS: dict[str, Any] = {
    **dict.fromkeys(("documents", "dimension", "m", "bits", "bytes_per_document"), is_count),
    **dict.fromkeys(("document_encoder", "query_encoder"), ENCODER),
    "training": or_none(is_object),
    "metric": lambda value: value == "inner_product",
    "embeddings": or_none(is_text),
    "initial_centroids_known": lambda value: type(value) is bool,
    "files": is_file_list,
}

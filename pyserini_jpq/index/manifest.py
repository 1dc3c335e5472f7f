"""The manifest of an index, `jpq.json`, and the names of the files that it lists."""

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
"""Optional: a copy of the codes in the layout of the scan; older folders lack it, and a user may delete it."""
IVF = "ivf"
"""Optional: inverted lists."""
TEXTS = "texts"
"""Optional: the documents' texts; later files are `texts.1`, `texts.2` and so on."""
VECTORS = "vectors"
"""Optional: the documents' vectors in 8 or 16 bits, to score the best hits again."""
DOCUMENT_MAP = "document_map.npy"
"""What takes documents' vectors to the centroids in place of the rotation, where training has learned it."""
KINDS = ("int8", "float16")
"""Number types of kept vectors."""


@dataclass(frozen=True)
class Manifest:
    """The content of `jpq.json`.

    Attributes
    ----------
    documents, dimension, m, bits
        N, D, M, and bits per code.
    bytes_per_document
        Bytes of a document's codes.
    document_encoder, query_encoder
        `name`, `card`, `sha256` of the weights, and `folder` (relative to the index folder) of an encoder that we
        wrote. The two are the same until training.
    training
        The recipe and its results; None for an index that was not trained.
    metric
        Always inner product.
    schema
        Version of the index folder.
    embeddings
        The folder of the embeddings, relative to the index folder; None if unknown.
    initial_centroids_known
        Whether `initial_centroids.npy` holds the centroids by which codes were assigned. False for a trained index that
        was imported without them: then it holds the trained ones, and no document can be appended.
    parts
        S, the parts of the dimensions that have several codebooks each, of additive codes; None for a product
        quantizer.
    documents_mapped
        Whether documents' vectors are mapped by `document_map.npy` before codes are assigned, queries by the rotation;
        else the rotation is that of both.
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
    parts: int | None = None
    documents_mapped: bool = False
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Dimensions of a centroid, D/S; D/M of a product quantizer."""
        return self.dimension // (self.parts or self.m)

    def fits(self) -> bool:
        """Return whether dimensions, codes and parts go together."""
        parts = self.parts or self.m
        return parts > 0 and self.dimension % parts == self.m % parts == 0 < self.bits <= 8


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `jpq.json` with the sizes and hashes of the folder's files."""
    there = [path.name for path in folder.iterdir()]
    names = [*FILES, *(name for name in (BLOCKS, VECTORS, DOCUMENT_MAP, *text_files(there)) if name in there)]
    write_fields(folder, replace(manifest, files={name: described(folder / name) for name in names}))


_TEXT_NUMBER = re.compile("[1-9][0-9]{0,5}")


def text_files(names: Iterable[str]) -> list[str]:
    """Return the names of files of texts, in the order in which they were written."""
    return sorted((name for name in names if is_text_file(name)), key=number_of)


def is_text_file(name: str) -> bool:
    """Return whether a name is that of a file of texts."""
    head, dot, number = name.partition(".")
    return head == TEXTS and (not dot or bool(_TEXT_NUMBER.fullmatch(number)))


def number_of(name: str) -> int:
    """Return the number of a file of texts; 0 for the first."""
    return int(name.partition(".")[2] or 0)


def described(path: Path) -> dict[str, Any]:
    """Return the entry of a file for the manifest: its size and SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def write_fields(folder: Path, manifest: Manifest) -> None:
    """Write `jpq.json`."""
    write_json_atomically(folder / MANIFEST, asdict(manifest))


FIELDS: dict[str, Any] = {
    **dict.fromkeys(("documents", "dimension", "m", "bits", "bytes_per_document"), is_count),
    **dict.fromkeys(("document_encoder", "query_encoder"), ENCODER),
    "training": or_none(is_object),
    "metric": lambda value: value == "inner_product",
    "embeddings": or_none(is_text),
    **dict.fromkeys(("initial_centroids_known", "documents_mapped"), lambda value: type(value) is bool),
    "parts": or_none(is_count),
    "files": is_file_list,
}

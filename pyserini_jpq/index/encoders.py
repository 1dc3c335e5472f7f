"""The encoders of an index, as `jpq.json` names them; an index refuses any other."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_jpq import cli
from pyserini_jpq.cards import ENCODER_FOLDER_CARD, EncoderCard, parse_encoder_card, read_encoder_card
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.source import EncoderSource, noted_encoder
from pyserini_jpq.errors import EncoderError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import MANIFEST
from pyserini_jpq.paths import ENCODERS
from pyserini_jpq.trust.places import is_plain_name, place_beside, seen_from

if TYPE_CHECKING:
    from pyserini_jpq.encode.encoder import Encoder

UNKNOWN: dict[str, Any] = {"name": None, "card": None, "sha256": None, "folder": None}
"""The entry in `jpq.json` of an index that was imported without an encoder."""

_PLAIN = "torch float32"
"""What computed vectors where an entry does not say: most indexes, and all older ones."""

_HERE = "."  # the backbone of an encoder folder that we wrote
_USE = ("architecture", "pooling", "normalize", "skip_tokens", "include_prompt", "lower_case", "truncate_dim")


def query_encoder_source(index: IndexFolder) -> EncoderSource:
    """Return the query encoder that `jpq.json` names.

    Raises
    ------
    EncoderError
        If it names none, or the encoder's folder is gone.
    """
    return _noted(index, index.manifest.query_encoder, "query encoder")


def document_encoder_source(index: IndexFolder) -> EncoderSource:
    """Return the document encoder that `jpq.json` names; raises as `query_encoder_source`."""
    return _noted(index, index.manifest.document_encoder, "document encoder")


def _noted(index: IndexFolder, entry: Mapping[str, Any], what: str) -> EncoderSource:
    if entry["card"] is None:
        raise EncoderError(
            f"{index.path} names no {what}: it was imported without one; name one with --encoder, "
            "or import it again with --encoder"
        )
    where = str(index.path / MANIFEST)
    if not entry.get("folder") and entry["card"].get("backbone") != _HERE:
        return noted_encoder(entry, where)
    candidates = _candidates(index, entry)
    for folder in candidates:
        if (folder / ENCODER_FOLDER_CARD).is_file():
            return EncoderSource(entry["name"], read_encoder_card(folder / ENCODER_FOLDER_CARD), folder, local=True)
    raise EncoderError(
        f"the {what} {entry['name']} of {index.path} is not at "
        f"{' nor at '.join(os.path.normpath(folder) for folder in candidates)}; "
        "put it back, or name its folder with --encoder"
    )


def _candidates(index: IndexFolder, entry: Mapping[str, Any]) -> list[Path]:
    """Return the possible folders of an encoder that we wrote; see `place_beside`."""
    beside = place_beside(index.path, entry["folder"]) if entry.get("folder") else None
    named = [ENCODERS / entry["name"]] if entry["name"] and is_plain_name(entry["name"]) else []
    if entry.get("folder") and beside is None and not any((f / ENCODER_FOLDER_CARD).is_file() for f in named):
        raise EncoderError(
            f"{index.path / MANIFEST} names an encoder at {entry['folder']!r}, too far from the index; if it is right, "
            "name its folder with --encoder"
        )
    return [beside, *named] if beside else named


def moved_entry(entry: dict[str, Any], here: Path, place: Path) -> dict[str, Any]:
    """Return the entry of an encoder in an index or embeddings at `here`, for `jpq.json` of an index at `place`."""
    if not entry.get("folder"):
        return entry
    folder = place_beside(here, entry["folder"])
    return {**entry, "folder": seen_from(place, folder) if folder else None}


def document_entry(embeddings: Embeddings, place: Path) -> dict[str, Any]:
    """Return the entry of the document encoder for `jpq.json` of an index at `place`, and what computed them."""
    entry = moved_entry(embeddings.encoder, embeddings.folder, place)
    return entry if embeddings.computed in (None, _PLAIN) else {**entry, "computed": embeddings.computed}


def document_backend(index: IndexFolder) -> str:
    """Return the `--encoder-backend` that the documents of an index were encoded by."""
    return str(index.manifest.document_encoder.get("computed", _PLAIN)).partition(" ")[0]


def check_encoder(index: IndexFolder, encoder: "Encoder", name: str) -> None:
    """Refuse an encoder that the index was not built or trained with.

    Raises
    ------
    EncoderError
        If weights or their use (pooling, prefixes, lengths) differ from the entry in `jpq.json`.
    """
    entry = index.manifest.query_encoder
    if entry["card"] is None:
        return  # imported without an encoder
    hint = "leave --encoder out, or give --any-encoder to use it all the same"
    if encoder.weights_sha256() != entry["sha256"]:
        raise EncoderError(
            f"{name} is not the query encoder of {index.path}: its weights are not those of {entry['name']}; {hint}"
        )
    expected = parse_encoder_card(entry["card"], str(index.path / MANIFEST))
    if difference := _difference(encoder.card, expected, "query"):
        raise EncoderError(f"{name} is used otherwise than the query encoder of {index.path}: {difference}; {hint}")


def check_document_encoder(index: IndexFolder, embeddings: Embeddings, any_encoder: bool) -> None:
    """Refuse embeddings that are not of the index's document encoder.

    Parameters
    ----------
    index
        The index.
    embeddings
        Embeddings of documents for the index.
    any_encoder
        Check the number of dimensions only.

    Raises
    ------
    EncoderError
        If the number of dimensions, the weights, or their use differ from the entry in `jpq.json`, or only one of the
        two was computed in 8 bits.
    """
    if embeddings.dimension != index.manifest.dimension:
        raise EncoderError(
            f"{embeddings.folder} has {embeddings.dimension} dimensions, {index.path} has {index.manifest.dimension}; "
            "encode the documents with the document encoder of the index"
        )
    if any_encoder:
        return
    expected: Mapping[str, Any] = index.manifest.document_encoder
    hint = "encode the documents with that, or give --any-encoder to take them all the same"
    if expected["sha256"] is None:
        raise EncoderError(
            f"{index.path} was imported without the weights of its document encoder "
            f"({expected['name'] or 'not named'}), so that of {embeddings.folder} cannot be compared; "
            "give --any-encoder if it is the right one"
        )
    if embeddings.encoder["sha256"] != expected["sha256"]:
        raise EncoderError(
            f"{embeddings.folder} was made with {embeddings.encoder['name']}, whose weights are not those of "
            f"{expected['name']}, the document encoder of {index.path}; {hint}"
        )
    where = str(index.path / MANIFEST)
    found, wanted = (parse_encoder_card(entry["card"], where) for entry in (embeddings.encoder, expected))
    if difference := _difference(found, wanted, "document"):
        raise EncoderError(f"{embeddings.folder} was made otherwise than {index.path}: {difference}; {hint}")
    _check_computed(index, embeddings)


def _check_computed(index: IndexFolder, embeddings: Embeddings) -> None:
    found, wanted = embeddings.computed or _PLAIN, index.manifest.document_encoder.get("computed", _PLAIN)
    if found == wanted:
        return
    how = f"{embeddings.folder} was computed by {found}, the documents of {index.path} by {wanted}"
    if "int8" in found + wanted:
        backend = document_backend(index)
        raise EncoderError(
            f"{how}, whose vectors differ; encode them with --encoder-backend {backend}, or give --any-encoder"
        )
    cli.warn(f"{how}: the vectors of the two differ by rounding")


def _difference(found: EncoderCard, wanted: EncoderCard, side: str) -> str | None:
    for field in (*_USE, side):
        if getattr(found, field) != getattr(wanted, field):
            return f"{field} is {getattr(found, field)}, expected {getattr(wanted, field)}"
    return None

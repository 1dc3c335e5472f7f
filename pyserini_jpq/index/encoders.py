"""From an index to its encoder: `jpq.json` names it, and an index refuses any other."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_jpq.catalog import ENCODER_FOLDER_CARD, parse_encoder_card, read_encoder_card
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import EncoderError
from pyserini_jpq.index.folder import MANIFEST, IndexFolder, seen_from

if TYPE_CHECKING:
    from pyserini_jpq.encode.tower import Tower


def query_encoder_source(index: IndexFolder) -> EncoderSource:
    """Return the query encoder that `jpq.json` names.

    Raises
    ------
    EncoderError
        If it was built here and its folder is gone.
    """
    entry = index.manifest.query_encoder
    where = str(index.path / MANIFEST)
    if not entry.get("folder"):
        return EncoderSource(entry["name"], parse_encoder_card(entry["card"], where))
    candidates = [index.path / entry["folder"], Path("encoders") / entry["name"]]
    for folder in candidates:
        if (folder / ENCODER_FOLDER_CARD).is_file():
            return EncoderSource(entry["name"], read_encoder_card(folder / ENCODER_FOLDER_CARD), folder)
    raise EncoderError(
        f"the query encoder {entry['name']} of {index.path} is not at {os.path.normpath(candidates[0])} "
        f"nor at {candidates[1]}; put it back, or name its folder with --encoder"
    )


def entry_for(source: EncoderSource, sha256: str, index: Path) -> dict[str, Any]:
    """Return what `jpq.json` of the index at that place says of an encoder."""
    folder = seen_from(index, source.folder) if source.folder else None
    return {"name": source.name, "card": source.card.as_dict(), "sha256": sha256, "folder": folder}


def check_encoder(index: IndexFolder, tower: "Tower", name: str) -> None:
    """Refuse an encoder that the index was not built or trained with.

    Raises
    ------
    EncoderError
        If weights, or how they are used (pooling, prefixes, lengths), differ from what `jpq.json` says.
    """
    entry = index.manifest.query_encoder
    if tower.weights_sha256() != entry["sha256"]:
        raise EncoderError(
            f"{name} is not the query encoder of {index.path}: its weights are not those of {entry['name']}; "
            "leave --encoder out, or give --any-encoder to use it all the same"
        )
    expected = parse_encoder_card(entry["card"], str(index.path / MANIFEST))
    for field in ("architecture", "pooling", "normalize", "skip_tokens", "query"):
        if getattr(tower.card, field) != getattr(expected, field):
            raise EncoderError(
                f"{name} is used otherwise than the query encoder of {index.path}: {field} is "
                f"{getattr(tower.card, field)}, expected {getattr(expected, field)}; "
                "leave --encoder out, or give --any-encoder to use it all the same"
            )

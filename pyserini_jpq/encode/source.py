"""Which encoder is meant: a folder that was built here, a card, or any Hugging Face encoder described by flags."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyserini_jpq import cards
from pyserini_jpq.cards import ENCODER_FOLDER_CARD, EncoderCard
from pyserini_jpq.errors import EncoderError


@dataclass(frozen=True)
class EncoderSource:
    """An encoder before its weights are loaded.

    Attributes
    ----------
    name
        What the user calls it.
    card
        How it is used.
    folder
        Where its weights lie, if it was built here; else the card names them.
    """

    name: str
    card: EncoderCard
    folder: Path | None = None

    def with_changes(self, changes: dict[str, Any]) -> "EncoderSource":
        """Return the same encoder with fields of its card replaced; `query` and `document` take partial mappings."""
        sides: dict[str, Any] = {
            side: dataclasses.replace(getattr(self.card, side), **changes[side])
            for side in ("query", "document")
            if side in changes
        }
        return dataclasses.replace(self, card=dataclasses.replace(self.card, **{**changes, **sides}))


def find_encoder(name: str) -> EncoderSource:
    """Find an encoder by folder, by the name of one built under `encoders/`, by card, or by Hugging Face name.

    Parameters
    ----------
    name
        `encoders/X`, `X`, `all-minilm-l6-v2`, `intfloat/e5-base-v2`, or a folder as transformers writes it.

    Raises
    ------
    EncoderError
        If nothing of that name is known.
    """
    for folder in (Path(name), Path("encoders") / name):
        if (folder / ENCODER_FOLDER_CARD).is_file():
            return EncoderSource(folder.name, cards.read_encoder_card(folder / ENCODER_FOLDER_CARD), folder)
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise EncoderError(f"{name} is no encoder: it has neither {ENCODER_FOLDER_CARD} nor config.json")
        return EncoderSource(Path(name).resolve().name, EncoderCard(backbone=name))
    if "/" in name and not cards.has_card("encoders", name):
        return EncoderSource(name, EncoderCard(backbone=name))
    return EncoderSource(name, cards.encoder_card(name))

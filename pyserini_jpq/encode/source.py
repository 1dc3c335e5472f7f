"""Which encoder is meant: a folder that was built here, a card, or any Hugging Face encoder described by flags."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_jpq import cards
from pyserini_jpq.cards import ENCODER_FOLDER_CARD, EncoderCard
from pyserini_jpq.encode.st_folder import MODULES, described
from pyserini_jpq.encode.weights import check_places
from pyserini_jpq.errors import EncoderError
from pyserini_jpq.trust.places import remember_folder, seen_from

if TYPE_CHECKING:
    from pyserini_jpq.encode.encoder import Encoder


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
    local
        Whether the card comes from an index or embeddings: then nothing of it is fetched.
    """

    name: str
    card: EncoderCard
    folder: Path | None = None
    local: bool = False

    def load(self) -> "Encoder":
        """Load the weights; raises EncoderError as `Encoder.load` does."""
        from pyserini_jpq.encode.encoder import Encoder

        return Encoder.load(self.card, self.folder, self.local)

    def entry(self, sha256: str | None, where: Path) -> dict[str, Any]:
        """Return the encoder's entry for the manifest of an index or embeddings in the folder `where`."""
        folder = {"folder": seen_from(where, self.folder)} if self.folder else {}
        return {"name": self.name, "card": self.card.as_dict(), "sha256": sha256, **folder}

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
        `encoders/X`, `X`, `all-minilm-l6-v2`, `intfloat/e5-base-v2`, or a folder as transformers or
        sentence-transformers write it: what the latter says of pooling, prompts and lengths goes into the card.

    Raises
    ------
    EncoderError
        If nothing of that name is known, or it is of a kind that is not supported.
    """
    for folder in (Path(name), Path("encoders") / name):
        if (folder / ENCODER_FOLDER_CARD).is_file():
            return EncoderSource(folder.name, cards.read_encoder_card(folder / ENCODER_FOLDER_CARD), folder)
    if Path(name).is_dir():
        if not any((Path(name) / file).is_file() for file in ("config.json", MODULES)):
            raise EncoderError(f"{name} is no encoder: it has neither {ENCODER_FOLDER_CARD} nor config.json")
        card = EncoderCard(backbone=name, **described(name))
        remember_folder(Path(name))
        return EncoderSource(Path(name).resolve().name, card)
    if "/" in name and not cards.has_card("encoders", name):
        return EncoderSource(name, EncoderCard(backbone=name, **described(name)))
    return EncoderSource(name, cards.encoder_card(name))


def noted_encoder(entry: Mapping[str, Any], where: str) -> EncoderSource:
    """Return the encoder that an index or embeddings describe by a card, with the places that such a card may name.

    Parameters
    ----------
    entry
        Its `name` and `card`.
    where
        The file that they come from, for errors.

    Raises
    ------
    EncoderError
        If the card cannot be used, or names a place that it may not.
    """
    card = cards.parse_encoder_card(entry["card"], where)
    check_places(card, where)
    return EncoderSource(entry["name"], dataclasses.replace(card, weights=None), local=True)

"""Collections by the name of their card: fetched and unpacked into `collections/NAME/` on first use."""

import os
from pathlib import Path

from pyserini_jpq import cards
from pyserini_jpq.download.archive import is_archive, unpack
from pyserini_jpq.download.download import fetch
from pyserini_jpq.errors import CollectionError
from pyserini_jpq.files import link_or_copy, new_folder
from pyserini_jpq.paths import COLLECTIONS, DOWNLOADS


def find_corpus(source: str | Path) -> Path:
    """Return the documents of a path or of a named collection, which is fetched if need be.

    Raises
    ------
    CollectionError
        If the publisher's terms do not allow to fetch it, or it lacks its documents.
    DownloadError
        If fetching fails.
    """
    path, name = Path(source), str(source)
    if path.exists() or os.sep in name or "/" in name or not cards.has_card("collections", name):
        return path
    return _file(name, cards.collection_card(name).corpus)


def find_topics(kind: str, name: str) -> Path | None:
    """Return the file of the topics or qrels that a card of a collection names, or None if none does.

    Parameters
    ----------
    kind
        `topics` or `qrels`.
    name
        Such as `msmarco-passage-train`.
    """
    for collection in cards.card_names("collections"):
        files = getattr(cards.collection_card(collection), kind)
        if name in files:
            return _file(collection, files[name])
    return None


def _file(name: str, inner: str) -> Path:
    path = COLLECTIONS / name / inner
    if not path.exists():
        _obtain(name)
    if not path.exists():
        raise CollectionError(f"{COLLECTIONS / name} holds no {inner}; remove the folder, and it is fetched again")
    return path


def _obtain(name: str) -> None:
    """Fetch a collection into its folder, whole or not at all."""
    folder, card = COLLECTIONS / name, cards.collection_card(name)
    if folder.exists():
        return
    if card.by_hand or not card.downloads:
        how = card.by_hand or f"see {card.source}"
        raise CollectionError(f"the collection {name} is not published for download; {how}, and put it into {folder}")
    files = [
        fetch(url, DOWNLOADS / (card.shared or name), f"{what} of {name}", card.checksums.get(what))
        for what, url in card.downloads.items()
    ]
    with new_folder(folder, overwrite=False) as prepared:
        for file in files:
            if is_archive(file):
                unpack(file, prepared, card.within)
            else:
                link_or_copy(file, prepared / file.name)

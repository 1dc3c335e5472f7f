"""From the name of an index to its folder, whatever it takes."""

from pathlib import Path

from pyserini_jpq import catalog
from pyserini_jpq.index.folder import find_index

INDEXES = Path("indexes")


def obtain_index(name: str, build: bool = False) -> Path:
    """Return the folder of an index; one that is published is fetched on first use.

    Parameters
    ----------
    name
        A folder, the name of one under `indexes/`, or of a card.
    build
        Build an OPQ index that is not here: fetch its collection and encoder, encode, index. It may take hours, and
        can be interrupted at any point.

    Raises
    ------
    IndexFolderError
        If there is neither a folder nor a card, or the card's index is not published and not to be built.
    DownloadError
        If it cannot be fetched.
    """
    if Path(name).is_dir() or (INDEXES / name).is_dir() or not catalog.has_card("indexes", name):
        return find_index(name)
    card = catalog.index_card(name)
    if card.downloads:
        from pyserini_jpq.prebuilt.published import fetch_index

        return fetch_index(name, card, INDEXES / name)
    if build and not card.recipe:
        from pyserini_jpq.prebuilt.built import build_opq

        return build_opq(card, INDEXES / name)
    return find_index(name)

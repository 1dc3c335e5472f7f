"""Where the weights of a card lie: a folder, a package that carries them, or the Hugging Face hub."""

import importlib.util
import logging
from pathlib import Path

from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.download.weights import fetch_weights
from pyserini_jpq.errors import DownloadError, EncoderError
from pyserini_jpq.files import sha256_of


def backbone_location(card: EncoderCard) -> str:
    """Return the folder of a card's weights, or the name that the Hugging Face hub gives them.

    Weights that a card keeps elsewhere are fetched into the folder that it names.

    Raises
    ------
    EncoderError
        If they cannot be fetched, or the weights that are here are not those that the card was written for.
    """
    folder = _package_folder(card.package) if card.package else None
    if folder is None and card.weights and not Path(card.backbone).exists():
        try:
            fetch_weights(card.weights, Path(card.backbone).name, Path(card.backbone))
        except DownloadError as problem:
            raise EncoderError(str(problem)) from None
    if folder is None and Path(card.backbone).is_dir():
        folder = Path(card.backbone)
    if folder is None:
        return card.backbone
    for name, expected in card.sha256.items():
        found = sha256_of(folder / name) if (folder / name).is_file() else None
        if found not in (None, expected):
            raise EncoderError(f"{folder / name} has SHA-256 {found}, its card says {expected}; install it again")
    return str(folder)


def quiet_transformers() -> None:
    """Keep transformers' advice and loading bars off the terminal; what matters we check and say ourselves."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _package_folder(package: str) -> Path | None:
    module, _, inner = package.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return None
    folder = Path(spec.origin).parent / inner
    return folder if folder.is_dir() else None

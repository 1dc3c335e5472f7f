"""Where the weights of a card lie: a folder, a package that carries them, or the Hugging Face hub."""

import logging
import zipfile
from pathlib import Path
from typing import Any

from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.download.weights import fetch_weights
from pyserini_jpq.errors import DownloadError, EncoderError
from pyserini_jpq.files import check_regular, sha256_of
from pyserini_jpq.trust.arrays import Tensors, safetensors_header
from pyserini_jpq.trust.places import is_hub_name, is_plain_name, may_be_named, package_folder
from pyserini_jpq.trust.plain import NotPlain, read_json_object

_WIDTHS = ("hidden_size", "dim", "d_model", "n_embd")
_BESIDE_WIDTH = ("vocab_size", "intermediate_size", "hidden_dim", "type_vocab_size", "d_ff", "embedding_size")
_HEADS, _HEAD_WIDTHS = ("num_attention_heads", "num_heads", "n_heads", "n_head"), ("head_dim", "d_kv")
_LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_OF_TOKENIZERS, _MOST_TOKENIZER = (".json", ".txt", ".model", ".jinja"), 256 << 20
_POSITIONS = ("max_position_embeddings", "n_positions")
_MOST_POSITIONS = 1 << 18  # rotary positions have no weights, and are computed


def backbone_location(card: EncoderCard) -> str:
    """Return the folder of a card's weights, or the name that the Hugging Face hub gives them.

    Weights that a card keeps elsewhere are fetched into the folder that it names, under `encoders/`.

    Raises
    ------
    EncoderError
        If they cannot be fetched, or the weights that are here are not those that the card was written for.
    """
    folder = package_folder(card.package) if card.package else None
    if folder is None and card.weights and not Path(card.backbone).exists():
        _fetch(card, card.weights)
    if folder is None and Path(card.backbone).is_dir():
        folder = Path(card.backbone)
    if folder is None:
        return card.backbone
    for name, expected in card.sha256.items():
        found = sha256_of(folder / name) if (folder / name).is_file() else None
        if found not in (None, expected):
            raise EncoderError(f"{folder / name} has SHA-256 {found}, its card says {expected}; install it again")
    return str(folder)


def _fetch(card: EncoderCard, url: str) -> None:
    folder = Path(card.backbone)
    if not may_be_named(folder):
        raise EncoderError(f"the card would fetch weights to {folder}; they go to encoders/ only: mend its backbone")
    try:
        fetch_weights(url, folder.name, folder)
    except DownloadError as problem:
        raise EncoderError(str(problem)) from None


def check_places(card: EncoderCard, where: str) -> None:
    """Refuse a card of an index or of embeddings that names weights at a place of its own choice.

    Parameters
    ----------
    card
        The card.
    where
        The file that holds it, for errors.

    Raises
    ------
    EncoderError
        If backbone or tokenizer are neither a name of the Hugging Face hub, nor a folder under `encoders/`, nor one
        that the user has named here before.
    """
    for name, place in (("backbone", card.backbone), ("tokenizer", card.tokenizer)):
        if place is not None and not is_hub_name(place) and ("\0" in place or not may_be_named(Path(place))):
            raise EncoderError(
                f"{where}: the {name} {place!r} is no place that such a file may name; if it is right, give it with "
                "--encoder once"
            )


def check_folder(folder: Path) -> None:
    """Check an encoder folder before transformers reads it.

    Raises
    ------
    EncoderError
        If a file of it is damaged, names files elsewhere or another model, or asks for more than its weights hold.
    """
    _check_files(folder)
    if (folder / "adapter_config.json").exists():
        raise EncoderError(f"{folder} holds an adapter of another model; merge the two, and save them as one")
    config = _object(folder / "config.json")
    _object(folder / "tokenizer_config.json")
    if config.get("quantization_config") or any("/" in str(config.get(f"{p}attn_implementation")) for p in ("", "_")):
        raise EncoderError(f"{folder / 'config.json'} asks for code that transformers would fetch; it is not used")
    for index in folder.glob("*.index.json"):
        names = _object(index).get("weight_map", {})
        if not isinstance(names, dict) or not all(isinstance(n, str) and is_plain_name(n) for n in names.values()):
            raise EncoderError(f"{index} names files that do not lie beside it; copy the encoder again")
    try:
        tensors = [safetensors_header(path, EncoderError) for path in folder.glob("*.safetensors")]
    except EncoderError as problem:
        raise EncoderError(f"cannot load the encoder {folder}: {problem}") from None
    for path in folder.glob("*.bin"):
        _check_zip(path)
        tensors.append(Tensors(path.stat().st_size // 64, path.stat().st_size))  # at most
    if tensors:
        _check_sizes(config, sum(t.values for t in tensors), sum(t.count for t in tensors), folder)


def check_layer(folder: Path) -> None:
    """Check the files of a dense layer or a layer norm before they are read; raises EncoderError as `check_folder`."""
    _check_files(folder)
    for path in folder.glob("*.bin"):
        _check_zip(path)
    for path in folder.glob("*.safetensors"):
        safetensors_header(path, EncoderError)


def _check_files(folder: Path) -> None:
    """Refuse what is no regular file, or too large for a tokenizer, wherever transformers may read it."""
    for path in (*folder.glob("*"), *folder.glob("*/*")):
        check_regular(path, EncoderError, _MOST_TOKENIZER if path.suffix in _OF_TOKENIZERS else None)


def _object(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path) if path.is_file() else {}
    except NotPlain as problem:
        raise EncoderError(f"{path} is {problem}; copy the encoder again") from None


def _check_zip(path: Path) -> None:
    """Refuse weights that are packed: torch writes them as they are, and a few bytes can stand for gigabytes."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as file:
        if sum(member.file_size for member in file.infolist()) > path.stat().st_size:
            raise EncoderError(f"{path} holds packed weights, which torch does not write; copy the encoder again")


def _check_sizes(config: dict[str, Any], values: int, tensors: int, folder: Path) -> None:
    """Compare the sizes of a configuration with its weights: a model is made before its weights are missed."""
    width = _largest(config, _WIDTHS)
    positions = _largest(config, _POSITIONS)
    wrong = [name for name in _BESIDE_WIDTH if _largest(config, (name,)) * width > values]
    heads = _largest(config, _HEADS) * max(_largest(config, _HEAD_WIDTHS), 1)
    wrong += ["the heads"] if heads * width > values else []
    wrong += ["the projection"] if _largest(config, ("projection_dim",)) * width > values else []
    wrong += ["the width"] if width * width > values else []
    wrong += ["the number of layers"] if _largest(config, _LAYERS) > tensors else []
    wrong += ["the number of positions"] if positions > _MOST_POSITIONS and positions * width > values else []
    if wrong:
        raise EncoderError(
            f"{folder / 'config.json'} claims more than the {values} values of its weights ({', '.join(wrong)}); "
            "copy the encoder again"
        )


def _largest(config: dict[str, Any], names: tuple[str, ...]) -> int:
    found = [config[name] for name in names if type(config.get(name)) is int]
    return max(found, default=0)


def quiet_transformers() -> None:
    """Keep transformers' advice and loading bars off the terminal; what matters we check and say ourselves."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

"""Conversion between RobertaDot checkpoints of the authors (old transformers) and our encoder folders."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_jpq.cards import ENCODER_FOLDER_CARD, EncoderCard, encoder_card
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.encode.strict import some_of
from pyserini_jpq.errors import ConversionError, EncoderError, first_line
from pyserini_jpq.files import new_folder, remove
from pyserini_jpq.trust.plain import read_json_object

if TYPE_CHECKING:
    import torch

    from pyserini_jpq.encode.ance import AnceBackbone

CONFIG, TORCH_WEIGHTS, SAFE_WEIGHTS = "config.json", "pytorch_model.bin", "model.safetensors"
DEFAULT_CARD = "star"

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_KEPT = (
    *(*_SIZES, "max_position_embeddings", "type_vocab_size", "hidden_act", "hidden_dropout_prob"),
    *("attention_probs_dropout_prob", "initializer_range", "layer_norm_eps"),
    *("pad_token_id", "bos_token_id", "eos_token_id"),
)
# What old checkpoints hold beside the encoder: position ids, a pooler, heads of their base classes.
_BESIDE = ("roberta.embeddings.position_ids", "roberta.pooler.", "classifier.", "lm_head.")


def is_checkpoint(folder: Path) -> bool:
    """Tell whether a folder is a checkpoint of transformers and not an encoder folder of ours."""
    return (folder / CONFIG).is_file() and not (folder / "encoder.yaml").is_file()


def import_encoder(
    folder: Path,
    output: Path,
    card: EncoderCard | None = None,
    tokenizer: str | None = None,
    overwrite: bool = False,
) -> EncoderSource:
    """Make an encoder folder of a RobertaDot checkpoint.

    Parameters
    ----------
    folder
        `config.json` and `pytorch_model.bin` (or `model.safetensors`), as the authors publish them.
    output
        The encoder folder to write, with weights (safetensors), tokenizer and card.
    card
        How the encoder is used; that of STAR by default.
    tokenizer
        Folder or Hugging Face name; by default the checkpoint's own if it has one, else the card's.
    overwrite
        Replace an existing output.

    Returns
    -------
    EncoderSource
        The encoder, as it lies at `output`.

    Raises
    ------
    ConversionError
        If a file is missing, damaged, unsafe or of another architecture.
    EncoderError
        If the tokenizer cannot be loaded.
    OutputError
        If `output` exists and `overwrite` is false.
    """
    from pyserini_jpq.encode.encoder import Encoder

    card = card or encoder_card(DEFAULT_CARD)
    if card.architecture != "ance":
        raise ConversionError(f"a RobertaDot checkpoint needs a card of the architecture ance, not {card.architecture}")
    if tokenizer is None and any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        tokenizer = str(folder)
    with new_folder(output, overwrite, ENCODER_FOLDER_CARD) as prepared:
        beside = prepared / "weights"
        backbone = _backbone(folder)
        backbone.save_pretrained(beside)
        card = dataclasses.replace(card, package=None, sha256={}, dimension=backbone.config.hidden_size)
        loading = dataclasses.replace(card, backbone=str(beside), tokenizer=tokenizer or card.tokenizer)
        description = f"RobertaDot, imported from {folder.name}"
        final = dataclasses.replace(card, backbone=".", tokenizer=None, description=description)
        try:
            Encoder.load(loading).save(prepared, final)
        except EncoderError as problem:
            hint = "name one with --tokenizer, or put vocab.json and merges.txt of roberta-base beside the weights"
            raise EncoderError(f"{folder} with the tokenizer {loading.tokenizer}: {problem}; {hint}") from None
        remove(beside)
    return EncoderSource(output.name, final, output)


def export_encoder(source: EncoderSource, output: Path, overwrite: bool = False) -> None:
    """Write an encoder as a RobertaDot checkpoint that the authors' code, with an old transformers, loads.

    Raises
    ------
    ConversionError
        If the encoder is of another architecture, which their code does not know.
    EncoderError
        If the encoder cannot be loaded.
    OutputError
        If `output` exists and `overwrite` is false.
    """
    import torch

    if source.card.architecture != "ance":
        raise ConversionError(
            f"the encoder {source.name} is no RobertaDot (architecture {source.card.architecture}), and the authors' "
            "code knows no other; leave --encoder out to export the index alone"
        )
    encoder = source.load()
    config = encoder.backbone.config
    values = {name: getattr(config, name) for name in _KEPT}
    values |= {"architectures": ["RobertaDot"], "model_type": "roberta"}
    weights = {name: value.detach().cpu().contiguous() for name, value in encoder.backbone.state_dict().items()}
    # A buffer that old versions save and expect.
    weights[_BESIDE[0]] = torch.arange(config.max_position_embeddings)[None]
    with new_folder(output, overwrite, CONFIG) as folder:
        (folder / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        torch.save(weights, folder / TORCH_WEIGHTS, _use_new_zipfile_serialization=False)
        encoder.tokenizer.save_pretrained(folder)


def _backbone(folder: Path) -> "AnceBackbone":
    """Load a checkpoint strictly: no weight is missing, left over or of another shape."""
    from pyserini_jpq.encode.ance import AnceBackbone

    backbone = AnceBackbone(_config(folder))
    weights = {_new_name(name): value.float() for name, value in _weights(folder).items()}
    weights = {name: value for name, value in weights.items() if not name.startswith(_BESIDE)}
    try:
        missing, unexpected = backbone.load_state_dict(weights, strict=False)
    except RuntimeError as problem:
        reason = str(problem).strip().splitlines()[-1].strip()
        raise ConversionError(f"{folder}: the weights do not fit {CONFIG}: {reason}") from None
    if missing or unexpected:
        what = f"lacks {some_of(missing)}" if missing else f"holds {some_of(unexpected)}, which is unknown"
        raise ConversionError(
            f"{folder} is no RobertaDot encoder: it {what} ({len(missing)} missing, {len(unexpected)} more)"
        )
    return backbone


def _config(folder: Path) -> Any:
    """Return the sizes of a checkpoint, without what old versions noted beside them."""
    from transformers import RobertaConfig

    path = folder / CONFIG
    try:
        values = read_json_object(path)
        lacking = [name for name in _SIZES if type(values.get(name)) is not int]
        kind = values.get("model_type", "roberta")
    except FileNotFoundError:
        raise ConversionError(f"{folder} has no {CONFIG}; a checkpoint has {CONFIG} and {TORCH_WEIGHTS}") from None
    except (ValueError, AttributeError):
        raise ConversionError(f"{path} is no JSON object; copy the checkpoint again") from None
    if kind != "roberta" or lacking:
        what = f"of the model type {kind!r}" if kind != "roberta" else f"without {lacking[0]}"
        raise ConversionError(f"{path} is {what}; a RobertaDot encoder is a RoBERTa")
    return RobertaConfig(**{name: values[name] for name in _KEPT if values.get(name) is not None})


def _weights(folder: Path) -> "dict[str, torch.Tensor]":
    """Read weights alone: torch itself refuses a pickle that would run code."""
    import torch

    if (folder / SAFE_WEIGHTS).is_file():
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(folder / SAFE_WEIGHTS)
        except SafetensorError as problem:
            raise ConversionError(f"{folder / SAFE_WEIGHTS} cannot be read: {problem}; copy it again") from None
    path = folder / TORCH_WEIGHTS
    if not path.is_file():
        raise ConversionError(f"{folder} has neither {TORCH_WEIGHTS} nor {SAFE_WEIGHTS}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ConversionError(
            f"{path} holds more than weights, or is damaged; it was not loaded, and nothing of it was run"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as problem:
        raise ConversionError(f"{path} cannot be read: {first_line(problem)}; copy it again") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ConversionError(f"{path} holds no weights by name; expected what a model's state_dict holds")
    return dict(found)


def _new_name(name: str) -> str:
    """Return today's name of a weight: without the prefix of DataParallel, with the new names of layer norms."""
    name = name.removeprefix("module.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")

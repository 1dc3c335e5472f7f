"""An encoder folder as sentence-transformers reads it: modules, prompts, lengths."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pyserini_jpq.encode.head import Dense, LayerNorm, Normalize, save_layer
from pyserini_jpq.encode.st_folder import MODULES, POOLINGS_OF, SETTINGS, TRANSFORMER

if TYPE_CHECKING:
    from pyserini_jpq.encode.encoder import Encoder

_README = """# A query encoder of pyserini_jpq

`encoder.yaml` says how it is used.

{how}
"""
_WITH = """`SentenceTransformer("…").encode(queries)` gives the vectors that it gives itself: the query prefix and
the query length are the defaults there. Documents were encoded by the encoder that it was trained from."""
_WITHOUT = """sentence-transformers cannot say what it does ({reason}): a model that it makes of this folder gives
other vectors. Use `JPQQueryEncoder`, or pyserini_jpq's commands."""


def write_modules(encoder: "Encoder", folder: Path) -> None:
    """Write what sentence-transformers needs beside transformer and tokenizer.

    Parameters
    ----------
    encoder
        The encoder, whose transformer lies in the folder.
    folder
        The folder.
    """
    reason = _unsayable(encoder)
    how = _WITHOUT.format(reason=reason) if reason else _WITH
    (folder / "README.md").write_text(_README.format(how=how), encoding="utf-8")
    if reason:
        # sentence-transformers refuses modules of others, which is better than a model that it makes up.
        _write(folder / MODULES, [{"idx": 0, "name": "0", "path": "", "type": "pyserini_jpq.JPQQueryEncoder"}])
        return
    layers = _layers(encoder)
    modules = [_module(0, "Transformer", ""), _module(1, "Pooling", "1_Pooling")]
    for number, layer in enumerate(layers, 2):
        name = type(layer).__name__
        modules.append(_module(number, name, f"{number}_{name}"))
        if not (folder / f"{number}_{name}").exists():
            save_layer(layer, folder / f"{number}_{name}")
    _write(folder / MODULES, modules)
    (folder / "1_Pooling").mkdir()
    _write(folder / "1_Pooling" / "config.json", _pooling(encoder))
    card = encoder.card
    prompts = {"query": card.query.prefix, "document": card.document.prefix}
    _write(
        folder / SETTINGS,
        {
            "prompts": prompts,
            "default_prompt_name": "query" if card.query.prefix else None,
            "similarity_fn_name": "cosine" if card.normalize else "dot",
        },
    )
    longest = encoder.longest(card.query)
    _write(folder / TRANSFORMER, {"max_seq_length": longest, "do_lower_case": card.lower_case})


def _unsayable(encoder: "Encoder") -> str | None:
    """Return what of an encoder sentence-transformers has no module for."""
    card = encoder.card
    if encoder.backbone.config.model_type == "dpr":
        return "the classes of DPR"
    if card.query.mask_padding or not card.query.special_tokens:
        return "queries without special tokens, or filled up with masks"
    return "tokens left out of the mean" if card.skip_tokens else None


def _layers(encoder: "Encoder") -> list[torch.nn.Module]:
    card, backbone = encoder.card, encoder.backbone
    layers: list[torch.nn.Module] = list(encoder.head)
    if card.architecture == "ance":
        layers += [_dense(backbone.embeddingHead.weight, backbone.embeddingHead.bias), _norm(backbone.norm)]
    if encoder.dimension < encoder.full_dimension:
        layers.append(_dense(torch.eye(encoder.full_dimension)[: encoder.dimension], None))
    return [*layers, Normalize()] if card.normalize else layers


def _dense(weight: torch.Tensor, bias: torch.Tensor | None) -> Dense:
    layer = Dense(weight.shape[1], weight.shape[0], bias is not None, "Identity")
    layer.linear.weight.data = weight.detach()
    if bias is not None:
        layer.linear.bias.data = bias.detach()
    return layer


def _norm(norm: torch.nn.LayerNorm) -> LayerNorm:
    layer = LayerNorm(int(norm.normalized_shape[0]))
    layer.norm = norm
    return layer


def _pooling(encoder: "Encoder") -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in POOLINGS_OF.items()}
    modes = [names[mode] for mode in encoder.card.pooling.split("+")]
    return {
        "embedding_dimension": int(encoder.backbone.config.hidden_size),
        "pooling_mode": modes[0] if len(modes) == 1 else modes,
        "include_prompt": encoder.card.include_prompt,
    }


def _module(number: int, kind: str, path: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

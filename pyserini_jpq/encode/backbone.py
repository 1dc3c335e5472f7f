"""Which class of transformers a configuration asks for, and its weights, loaded strictly."""

import functools
from typing import Any

import torch
from torch import nn

from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.encode.strict import load_strictly
from pyserini_jpq.errors import EncoderError

_WITH_POOLER = {"bert", "roberta", "xlm-roberta", "mpnet", "camembert"}
_ENCODER_ALONE = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
    "switch_transformers": "SwitchTransformersEncoderModel",
}
_DPR = ("DPRQuestionEncoder", "DPRContextEncoder")


def load_backbone(card: EncoderCard, location: str, safely: dict[str, Any]) -> nn.Module:
    """Load the transformer of a card in float32.

    Parameters
    ----------
    card
        Its architecture says which class, if the configuration does not.
    location
        Folder, or name of the Hugging Face hub.
    safely
        Arguments of `from_pretrained` that keep code of others, and the network, out.

    Raises
    ------
    EncoderError
        If the model is of a kind that gives no vectors of tokens, or weights are missing.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(location, **safely)
    kind, options = _class_for(card, config, location)
    load = functools.partial(kind.from_pretrained, location, dtype=torch.float32, **options, **safely)
    model: nn.Module = load_strictly(load, location)
    return model


def pools_itself(card: EncoderCard, backbone: Any) -> bool:
    """Tell whether a backbone gives one vector a text: the head of ANCE, or DPR."""
    return card.architecture == "ance" or backbone.config.model_type == "dpr"


def width(backbone: Any) -> int:
    """Return the number of dimensions of what a backbone gives."""
    config = backbone.config
    if config.model_type == "dpr" and config.projection_dim:
        return int(config.projection_dim)
    return int(config.hidden_size)


def _class_for(card: EncoderCard, config: Any, location: str) -> tuple[Any, dict[str, Any]]:
    """Return the class and what is given to it beside; poolers are left out, as we pool ourselves."""
    import transformers

    if card.architecture == "ance":
        from pyserini_jpq.encode.ance import AnceBackbone

        return AnceBackbone, {}
    asked, kind = (config.architectures or [""])[0], config.model_type
    if kind == "dpr" and asked not in ("", *_DPR):
        raise EncoderError(f"{location} is a {asked}, which encodes neither queries nor documents")
    if kind == "dpr":
        return getattr(transformers, asked or _DPR[0]), {}
    if "colbert" in asked.lower():
        raise EncoderError(f"{location} is a {asked}, which gives several vectors a text; an index takes one")
    if kind in _ENCODER_ALONE:
        return getattr(transformers, _ENCODER_ALONE[kind]), {}
    if getattr(config, "is_encoder_decoder", False):
        raise EncoderError(
            f"{location} is an encoder and decoder of the kind {kind}, whose encoder cannot be used alone"
        )
    return transformers.AutoModel, {"add_pooling_layer": False} if kind in _WITH_POOLER else {}

"""Encode texts of different lengths in one row, without padding.

On a CPU a padded position costs what a word does. Tokens of several texts follow one another, each with its position in
its own text; only attention sees them as a batch with padding. A layer is computed here by the model's own modules, as
what transformers does around them takes a tenth of the time of one query, and keeps other threads from running.
"""

from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from pyserini_jpq.encode.backbone import pools_itself
from pyserini_jpq.encode.encoder import Encoder

TOKENS = 256
"""Most tokens of a row of several texts: more are computed no faster, and leave more holes in memory."""
_FIRST_POSITION = {"bert": 0, "roberta": 1, "xlm-roberta": 1}
"""The first position of a text, from 0 or from the padding id, in models whose tokens see all others of their text."""


def can_pack(encoder: Encoder) -> bool:
    """Return whether the texts of a model may share a row, which depends on its positions and its attention."""
    config = encoder.backbone.config
    known = (
        config.model_type in _FIRST_POSITION
        and getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
        and not getattr(config, "is_decoder", False)
        and config._attn_implementation == "sdpa"
        and encoder.card.architecture != "ance"
        and not pools_itself(encoder.card, encoder.backbone)
    )
    return known and _agrees(encoder)


def packed(encoder: Encoder, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Encode as the encoder does, without computing padding; parameters and result as of `Encoder.forward`."""
    lengths = (attention_mask > 0).sum(dim=1)
    parts = torch.split(torch.arange(len(lengths)), _sizes(lengths.tolist()))
    return torch.cat([_in_one_row(encoder, input_ids[part], attention_mask[part]) for part in parts])


def _agrees(encoder: Encoder) -> bool:
    """Try it, as versions of transformers differ in the masks that they take."""
    batch = encoder.pad_queries(["a", "a b a b a", "b a"])
    with torch.inference_mode():
        try:
            alike = torch.cosine_similarity(packed(encoder, *batch), encoder(*batch))
            return bool((alike > 0.999).all())
        except Exception:  # whatever a model raises, it can be padded
            return False


def _sizes(lengths: list[int]) -> list[int]:
    """Return the numbers of consecutive texts that share a row."""
    sizes, tokens = [0], 0
    for length in lengths:
        if sizes[-1] and tokens + length > TOKENS:
            sizes.append(0)
            tokens = 0
        sizes[-1] += 1
        tokens += length
    return sizes


def _in_one_row(encoder: Encoder, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    there = attention_mask > 0
    layout = _Layout.of(there)
    positions = (there.cumsum(dim=1) - 1)[there] + _first_position(encoder)
    embedded = encoder.backbone.embeddings(input_ids=input_ids[there][None], position_ids=positions[None])
    states = embedded[0]
    for layer in encoder.backbone.encoder.layer:
        states = _layer(layer, states, layout)
    return encoder.vectors_of(layout.padded(states).unflatten(0, there.shape), attention_mask)


class _Layout(NamedTuple):
    """Where the T tokens of a row stand in a batch [B, L] with padding."""

    rows: torch.Tensor
    """[T] int64, from 0 to B L - 1."""
    there: torch.Tensor
    """[B, L] bool, false for padding."""
    mask: torch.Tensor | None
    """Of attention, `there` for all heads and queries; None without padding."""

    @classmethod
    def of(cls, there: torch.Tensor) -> "_Layout":
        return cls(there.flatten().nonzero()[:, 0], there, None if there.all() else there[:, None, None])

    def padded(self, states: torch.Tensor) -> torch.Tensor:
        """Return [T, n] as [B L, n], zero where there is padding."""
        if self.mask is None:
            return states
        return states.new_zeros(self.there.numel(), states.shape[1]).index_copy_(0, self.rows, states)

    def unpadded(self, states: torch.Tensor) -> torch.Tensor:
        """Return [B L, n] as [T, n]."""
        return states if self.mask is None else states.index_select(0, self.rows)


def _layer(layer: Any, states: torch.Tensor, layout: _Layout) -> torch.Tensor:
    """Return what a layer of BERT makes of the states of tokens, [T, D]."""
    added = layer.attention.output
    states = added.LayerNorm(added.dense(_attention(layer.attention.self, states, layout)) + states)
    wide = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(states))
    return layer.output.LayerNorm(layer.output.dense(wide) + states)  # type: ignore[no-any-return]


def _attention(own: Any, states: torch.Tensor, layout: _Layout) -> torch.Tensor:
    """Return what the tokens of each text give to one another, [T, D]."""
    joined = torch.cat([own.query(states), own.key(states), own.value(states)], dim=1)
    heads = layout.padded(joined).view(*layout.there.shape, 3, own.num_attention_heads, -1)
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    found = scaled_dot_product_attention(query, key, value, attn_mask=layout.mask)
    return layout.unpadded(found.transpose(1, 2).flatten(2).flatten(0, 1))


def _first_position(encoder: Encoder) -> int:
    config = encoder.backbone.config
    first = _FIRST_POSITION[config.model_type]
    return first + int(config.pad_token_id or 0) if first else 0

"""The encoder encoder: a transformer backbone, pooling, and unit length if the card says so."""

import hashlib
import os
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pyserini_jpq.cards import ENCODER_FOLDER_CARD, EncoderCard, TextSide
from pyserini_jpq.encode.old_roberta import OldRobertaTokenizer, follows_old_rules
from pyserini_jpq.encode.weights import backbone_location, quiet_transformers
from pyserini_jpq.errors import EncoderError

_COUNT_FROM_PADDING = {"roberta", "xlm-roberta", "camembert", "mpnet"}


class Encoder(nn.Module):
    """A text encoder as its card describes it.

    Parameters
    ----------
    card
        Pooling, lengths, prefixes and normalisation.
    backbone
        The transformer; for the `ance` architecture it gives the pooled vector itself.
    tokenizer
        The backbone's tokenizer.
    """

    backbone: Any

    def __init__(self, card: EncoderCard, backbone: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.card = card
        self.backbone = backbone
        self.tokenizer = tokenizer
        self._old_tokenizer: OldRobertaTokenizer | None = None
        if follows_old_rules(card):
            self._old_tokenizer = OldRobertaTokenizer(tokenizer, bool(card.tokenizer_options.get("add_prefix_space")))

    @classmethod
    def load(cls, card: EncoderCard, folder: Path | None = None) -> "Encoder":
        """Load the weights that a card names.

        Parameters
        ----------
        card
            The card.
        folder
            The folder with the weights, for an encoder that was built here; else the card's backbone.

        Raises
        ------
        EncoderError
            If the weights are not here and cannot be fetched, are not the published ones, or do not fit the card.
        """
        quiet_transformers()
        location = str(folder) if folder else backbone_location(card)
        is_path = location.startswith((".", os.sep))
        if is_path and not Path(location).is_dir():
            raise EncoderError(f"{location} is no folder; put the weights there (published at {card.source})")
        try:
            backbone = _load_backbone(card, location)
            tokenizer = _load_tokenizer(card, location if folder else card.tokenizer or location)
        except EncoderError:
            raise
        except Exception as problem:  # transformers raises whatever a broken or foreign file provokes
            hint = "" if Path(location).is_dir() else "; name a folder, or connect to the network to have it fetched"
            raise EncoderError(f"cannot load the encoder {location}: {_first_line(problem)}{hint}") from None
        encoder = cls(card, backbone, tokenizer)
        encoder._check_card()
        return encoder.eval()

    @property
    def dimension(self) -> int:
        """The number of dimensions of an embedding."""
        return int(self.backbone.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.parameters()).device

    def tokenize(self, texts: Sequence[str], side: TextSide) -> list[list[int]]:
        """Turn texts into token ids, cut to the side's length, without padding."""
        if not texts:
            return []
        texts = [self._prepare(text, side) for text in texts]
        longest = min(side.max_length, self._most_positions())
        if self._old_tokenizer is not None:
            return self._old_tokenizer.encode(texts, longest, side.special_tokens)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoded = self.tokenizer(
                texts,
                add_special_tokens=side.special_tokens,
                truncation=True,
                max_length=longest,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        ids: list[list[int]] = encoded["input_ids"]
        # A text of characters that the tokenizer drops, without special tokens, would leave nothing to pool.
        return [row or [self._pad_id()] for row in ids]

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad token ids to the longest row.

        Returns
        -------
        input_ids : torch.Tensor
            [B, L] int64, on the encoder's device.
        attention_mask : torch.Tensor
            [B, L] int64, 1 for tokens, 0 for padding.
        """
        longest = max(len(row) for row in rows)
        ids = np.full((len(rows), longest), self._pad_id(), dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode token ids; [B, L] int64 each, to [B, D] float32."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        if self.card.architecture == "ance":
            pooled = output.float()
        else:
            pooled = self._pool(output.last_hidden_state.float(), attention_mask)
        return nn.functional.normalize(pooled, dim=-1) if self.card.normalize else pooled

    def encode_queries(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode queries to [B, D] float32, with gradients where they are enabled."""
        vectors: torch.Tensor = self(*self.pad(self.tokenize(texts, self.card.query)))
        return vectors

    def weights_sha256(self) -> str:
        """Return a SHA-256 of all weights, whatever file format they came from."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.backbone.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path, card: EncoderCard) -> None:
        """Write weights (safetensors), tokenizer and card into a folder that exists."""
        import yaml

        quiet_transformers()
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        text = yaml.safe_dump(card.as_dict(), sort_keys=False, allow_unicode=True)
        (folder / ENCODER_FOLDER_CARD).write_text(text, encoding="utf-8")
        # safetensors writes for the owner alone, whatever the umask.
        usual = stat.S_IMODE((folder / ENCODER_FOLDER_CARD).stat().st_mode)
        for weights in folder.glob("*.safetensors"):
            weights.chmod(usual)

    def _prepare(self, text: str, side: TextSide) -> str:
        masks = self.tokenizer.mask_token * side.max_length if side.mask_padding else ""
        return side.prefix + text + masks

    def _pool(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.card.pooling == "cls":
            return states[:, 0]
        if self.card.pooling == "last":  # of decoders: it alone has seen all others; padding stands behind it
            last = attention_mask.sum(1) - 1
            return states[torch.arange(len(states), device=states.device), last]
        skip = self.card.skip_tokens
        weights = attention_mask[:, skip:, None].to(states.dtype)
        return (states[:, skip:] * weights).sum(1) / weights.sum(1).clamp(min=1)

    def _pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    def _most_positions(self) -> int:
        """Return the longest input of the backbone; RoBERTa and MPNet count positions from the padding id on."""
        config = self.backbone.config
        most = getattr(config, "max_position_embeddings", None)
        if not most or most < 0:
            return 1 << 20
        return int(most) - (self._pad_id() + 1 if config.model_type in _COUNT_FROM_PADDING else 0)

    def _check_card(self) -> None:
        if self.card.dimension not in (None, self.dimension):
            raise EncoderError(
                f"{self.card.backbone} gives {self.dimension} dimensions, but its card says {self.card.dimension}"
            )
        masks = self.card.query.mask_padding or self.card.document.mask_padding
        if masks and self.tokenizer.mask_token is None:
            raise EncoderError(f"{self.card.backbone}: mask_padding needs a tokenizer with a mask token")


def _load_backbone(card: EncoderCard, location: str) -> nn.Module:
    if card.architecture == "ance":
        from pyserini_jpq.encode.ance import AnceBackbone

        return AnceBackbone.from_pretrained(location)
    from transformers import AutoModel

    model: nn.Module = AutoModel.from_pretrained(location, dtype=torch.float32, **_without_pooler(location))
    return model


def _without_pooler(location: str) -> dict[str, bool]:
    """Leave out the pooling layer of BERT and its kin: we pool ourselves, and unused weights would only be carried."""
    from transformers import AutoConfig

    with_pooler = {"bert", "roberta", "xlm-roberta", "mpnet", "camembert"}
    return {"add_pooling_layer": False} if AutoConfig.from_pretrained(location).model_type in with_pooler else {}


def _load_tokenizer(card: EncoderCard, location: str) -> Any:
    import transformers

    name = card.tokenizer_class or "AutoTokenizer"
    kind = getattr(transformers, name, None)
    if kind is None or (kind is not transformers.AutoTokenizer and not _is_tokenizer_class(kind)):
        raise EncoderError(f"transformers has no tokenizer class {name!r}")
    tokenizer = kind.from_pretrained(location, **card.tokenizer_options)
    # Where its files are missing, transformers makes one that knows no word, and says nothing.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise EncoderError(f"{location} holds no tokenizer; put its files there, or name one with --tokenizer")
    return tokenizer


def _is_tokenizer_class(kind: Any) -> bool:
    from transformers import PreTrainedTokenizerBase

    return isinstance(kind, type) and issubclass(kind, PreTrainedTokenizerBase)


def _first_line(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__

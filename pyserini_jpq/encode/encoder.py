"""The encoder: a transformer backbone, pooling, what lies behind it, and unit length if the card says so."""

import dataclasses
import hashlib
import os
import stat
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pyserini_jpq.cards import ENCODER_FOLDER_CARD, EncoderCard, TextSide
from pyserini_jpq.encode.backbone import load_backbone, pools_itself, width
from pyserini_jpq.encode.head import load_head, save_layer
from pyserini_jpq.encode.lower_case import lower_case
from pyserini_jpq.encode.old_roberta import OldRobertaTokenizer, follows_old_rules
from pyserini_jpq.encode.pooling import pool
from pyserini_jpq.encode.st_write import write_modules
from pyserini_jpq.encode.weights import backbone_location, check_folder, check_layer, quiet_transformers
from pyserini_jpq.errors import EncoderError, first_line

_COUNT_FROM_PADDING = {"roberta", "xlm-roberta", "camembert", "mpnet"}

_TOKENIZING = threading.Lock()
"""A fast tokenizer that two threads use at once raises "Already borrowed". No process is forked while one is in use."""


def _go_on_after_fork() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else tokenizers warns, and does the same
    _TOKENIZING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_TOKENIZING.acquire, after_in_parent=_TOKENIZING.release, after_in_child=_go_on_after_fork
    )


class _PrefixedRow(list[int]):
    """Token ids of a text, and how many of them are a prefix that is left out of pooling."""

    def __init__(self, ids: Sequence[int], prefix: int) -> None:
        super().__init__(ids)
        self.prefix = prefix


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
    head
        Layers behind pooling; none by default.
    """

    backbone: Any

    def __init__(
        self, card: EncoderCard, backbone: nn.Module, tokenizer: Any, head: nn.Sequential | None = None
    ) -> None:
        super().__init__()
        self.card = card
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.head = head if head is not None else nn.Sequential()
        self._prefixes: dict[str, int] = {}
        self._old_tokenizer: OldRobertaTokenizer | None = None
        if follows_old_rules(card):
            self._old_tokenizer = OldRobertaTokenizer(tokenizer, bool(card.tokenizer_options.get("add_prefix_space")))

    @classmethod
    def load(cls, card: EncoderCard, folder: Path | None = None, local: bool = False) -> "Encoder":
        """Load the weights that a card names.

        Parameters
        ----------
        card
            The card.
        folder
            The folder with the weights, for an encoder that was built here; else the card's backbone.
        local
            Fetch nothing: what is not in a folder or in the cache of the Hugging Face hub is missing.

        Raises
        ------
        EncoderError
            If the weights are not here and cannot be fetched, are not the published ones, or do not fit the card.
        """
        quiet_transformers()
        root = str(folder) if folder else backbone_location(card)
        location = _checked(root, card)
        safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local or folder is not None}
        if card.subfolder and not Path(location).is_dir():
            safely["subfolder"] = card.subfolder
        try:
            backbone = load_backbone(card, location, safely)
            tokenizer = _load_tokenizer(card, location if folder else card.tokenizer or location, safely)
            head = load_head(card.head, root, width(backbone) * (card.pooling.count("+") + 1), local)
            encoder = cls(card, backbone, tokenizer, head).eval()
            encoder._check_card()
            encoder._try_out(location)
        except EncoderError:
            raise
        except Exception as problem:  # transformers raises whatever a broken or foreign file provokes
            if "trust_remote_code" in str(problem):
                raise EncoderError(f"{location} needs code of its own, which is never run; name another one") from None
            hint = "" if Path(location).is_dir() else "; name a folder, or connect to the network to have it fetched"
            if local and hint:
                hint = f"; it is not in the cache, and an index fetches nothing: name it with --encoder {location}"
            raise EncoderError(f"cannot load the encoder {location}: {first_line(problem)}{hint}") from None
        return encoder

    @property
    def dimension(self) -> int:
        """The number of dimensions of an embedding."""
        return min(self.full_dimension, self.card.truncate_dim or self.full_dimension)

    @property
    def full_dimension(self) -> int:
        """The number of dimensions before an embedding is cut."""
        outputs = [getattr(layer, "outputs", None) for layer in self.head]
        pooled = width(self.backbone) * (self.card.pooling.count("+") + 1)
        return next((int(size) for size in reversed(outputs) if size is not None), pooled)

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.parameters()).device

    def tokenize(self, texts: Sequence[str], side: TextSide) -> list[list[int]]:
        """Turn texts into token ids, cut to the side's length, without padding."""
        if not texts:
            return []
        texts = [self._prepare(text, side) for text in texts]
        longest = self.longest(side)
        if self._old_tokenizer is not None:
            with _TOKENIZING:
                return self._old_tokenizer.encode(texts, longest, side.special_tokens)
        with _TOKENIZING, warnings.catch_warnings():
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
        rows = [row or [self._pad_id()] for row in ids]
        if self.card.include_prompt or not side.prefix:
            return rows
        return [_PrefixedRow(row, self._prefix_length(side)) for row in rows]

    def longest(self, side: TextSide) -> int:
        """Return the most tokens of a text of a side that reach the backbone."""
        return min(side.max_length, self._most_positions())

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad token ids to the longest row.

        Returns
        -------
        input_ids : torch.Tensor
            [B, L] int64, on the encoder's device.
        attention_mask : torch.Tensor
            [B, L] int64, 1 for tokens, 0 for padding, 2 for tokens that are read and left out of pooling.
        """
        longest = max(len(row) for row in rows)
        ids = np.full((len(rows), longest), self._pad_id(), dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
            if isinstance(row, _PrefixedRow):
                mask[i, : min(row.prefix, len(row))] = 2
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def pad_queries(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the padded token ids of queries, and their mask; see `pad`."""
        return self.pad(self.tokenize(texts, self.card.query))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode token ids; [B, L] int64 each, to [B, D] float32."""
        return self._embed(input_ids, attention_mask)

    def vectors_of(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Pool states of tokens, [B, L, H], and apply what lies behind; [B, D] float32."""
        counted = attention_mask if self.card.include_prompt else (attention_mask == 1).long()
        return self._finished(self._pool(states.float(), counted))

    def _embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        read = attention_mask if self.card.include_prompt else (attention_mask > 0).long()
        output = self.backbone(input_ids=input_ids, attention_mask=read)
        if self.card.architecture == "ance":
            return self._finished(output.float())
        if pools_itself(self.card, self.backbone):
            return self._finished(output.pooler_output.float())
        return self.vectors_of(output.last_hidden_state, attention_mask)

    def _finished(self, pooled: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.head(pooled)[:, : self.dimension]
        return nn.functional.normalize(vectors, dim=-1) if self.card.normalize else vectors

    def encode_queries(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode queries to [B, D] float32, with gradients where they are enabled."""
        vectors: torch.Tensor = self(*self.pad_queries(texts))
        return vectors

    def weights_sha256(self) -> str:
        """Return a SHA-256 of all weights, whatever file format they came from."""
        digest = hashlib.sha256()
        head = {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        for name, tensor in [*sorted(self.backbone.state_dict().items()), *sorted(head.items())]:
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path, card: EncoderCard) -> None:
        """Write weights (safetensors), tokenizer and card into a folder that exists."""
        import yaml

        quiet_transformers()
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        names = [f"{number}_{type(layer).__name__}" for number, layer in enumerate(self.head, 2)]
        for name, layer in zip(names, self.head, strict=True):
            save_layer(layer, folder / name)
        card = dataclasses.replace(card, subfolder="", head=" ".join(names))
        write_modules(self, folder)
        text = yaml.safe_dump(card.as_dict(), sort_keys=False, allow_unicode=True)
        (folder / ENCODER_FOLDER_CARD).write_text(text, encoding="utf-8")
        # safetensors writes for the owner alone, whatever the umask.
        usual = stat.S_IMODE((folder / ENCODER_FOLDER_CARD).stat().st_mode)
        for weights in folder.rglob("*.safetensors"):
            weights.chmod(usual)

    def _prepare(self, text: str, side: TextSide) -> str:
        masks = self.tokenizer.mask_token * side.max_length if side.mask_padding else ""
        return side.prefix + text + masks

    def _pool(self, states: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        if self.card.pooling == "cls" and self.card.include_prompt:
            return states[:, 0]
        skip = self.card.skip_tokens if self.card.pooling != "last" else 0
        return pool(states[:, skip:], counted[:, skip:], self.card.pooling)

    def _prefix_length(self, side: TextSide) -> int:
        """Return the tokens of a side's prefix, as sentence-transformers counts them: without a special one behind."""
        if side.prefix not in self._prefixes:
            ids = self.tokenizer(side.prefix, add_special_tokens=side.special_tokens)["input_ids"]
            self._prefixes[side.prefix] = len(ids) - (ids[-1] in self.tokenizer.all_special_ids)
        return self._prefixes[side.prefix]

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
        where = self.card.backbone
        if self.card.dimension not in (None, self.full_dimension):
            raise EncoderError(
                f"{where} gives {self.full_dimension} dimensions, but its card says {self.card.dimension}"
            )
        if (self.card.truncate_dim or 1) > self.full_dimension:
            raise EncoderError(
                f"{where} gives {self.full_dimension} dimensions, which cannot be cut to {self.card.truncate_dim}"
            )
        masks = self.card.query.mask_padding or self.card.document.mask_padding
        if masks and self.tokenizer.mask_token is None:
            raise EncoderError(f"{where}: mask_padding needs a tokenizer with a mask token")
        if self.card.lower_case:
            lower_case(self.tokenizer, where)

    def _try_out(self, location: str) -> None:
        """Refuse a model that takes other things than texts, or gives other things than vectors of tokens."""
        try:
            with torch.no_grad():
                vectors = self._embed(*self.pad_queries(["a"]))
        except Exception as problem:  # of whatever kind of model it is
            reason = first_line(problem)
            raise EncoderError(f"{location} cannot be used as an encoder of texts: {reason[:200]}") from None
        if vectors.shape != (1, self.dimension):
            raise EncoderError(f"{location} gives {tuple(vectors.shape[1:])} values a text, not {self.dimension}")


def _checked(root: str, card: EncoderCard) -> str:
    """Return where transformer and tokenizer lie, all files of a folder looked at before transformers reads them."""
    is_path = root.startswith((".", os.sep))
    if is_path and not Path(root).is_dir():
        raise EncoderError(f"{root} is no folder; put the weights there (published at {card.source})")
    if not Path(root).is_dir():
        return root
    location = Path(root) / card.subfolder if card.subfolder else Path(root)
    try:
        check_folder(location)
        for name in card.head.split():
            check_layer(Path(root) / name)
    except EncoderError as problem:
        raise EncoderError(f"cannot load the encoder {location}: {problem}") from None
    return str(location) if card.subfolder else root


def _load_tokenizer(card: EncoderCard, location: str, safely: dict[str, Any]) -> Any:
    import transformers

    name = card.tokenizer_class or "AutoTokenizer"
    kind = getattr(transformers, name, None)
    if kind is None or (kind is not transformers.AutoTokenizer and not _is_tokenizer_class(kind)):
        raise EncoderError(f"transformers has no tokenizer class {name!r}")
    tokenizer = kind.from_pretrained(location, **card.tokenizer_options, **safely)
    # Where its files are missing, transformers makes one that knows no word, and says nothing.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise EncoderError(f"{location} holds no tokenizer; put its files there, or name one with --tokenizer")
    return tokenizer


def _is_tokenizer_class(kind: Any) -> bool:
    from transformers import PreTrainedTokenizerBase

    return isinstance(kind, type) and issubclass(kind, PreTrainedTokenizerBase)

"""A cross-encoder: a sequence classifier that reads query and document together."""

import sys
from collections.abc import Sequence
from typing import Any

from pyserini_jpq.errors import EncoderError


class CrossEncoder:
    """A sequence classifier of Hugging Face that scores pairs of query and document.

    Parameters
    ----------
    model
        Name or folder. With one label the score is its logit; with two, the log-odds of the second.
    device
        `cpu`, `cuda`, `cuda:1` or `auto`.
    batch_size
        Pairs per batch.
    max_length
        Most tokens of a pair, if the model allows as many; the longer of query and document is truncated.
    flag
        The flag that names the model, for errors.

    Raises
    ------
    EncoderError
        If the model cannot be loaded, has more than two labels, or lacks weights (a base model, a causal reranker).
    """

    def __init__(self, model: str, device: str, batch_size: int, max_length: int, flag: str) -> None:
        from pyserini_jpq.encode.precision import resolve_device

        self._device = resolve_device(device)
        self._model, self._tokenizer = _load(model, flag)
        self._model.to(self._device).eval()
        self._max_length = min(max_length, int(self._tokenizer.model_max_length), _positions(self._model))
        if self._max_length <= self._tokenizer.num_special_tokens_to_add(pair=True):
            raise EncoderError(f"{flag} {model} takes {self._max_length} tokens, which leaves none for the texts")
        # Pairs are scored one by one if the tokenizer has no padding token, or not the model's.
        padding = self._tokenizer.pad_token_id
        is_padded = padding is not None and padding == getattr(self._model.config, "pad_token_id", None)
        self._batch_size = batch_size if is_padded else 1

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return the scores of texts for a query."""
        import torch

        found: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(texts), self._batch_size):
                batch = list(texts[start : start + self._batch_size])
                tokens = self._tokenizer(
                    [query] * len(batch),
                    batch,
                    padding=len(batch) > 1,
                    truncation="longest_first",
                    max_length=self._max_length,
                    return_tensors="pt",
                )
                logits = self._model(**tokens.to(self._device)).logits.float()
                values = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
                found += values.cpu().tolist()
        return found


def _load(name: str, flag: str) -> tuple[Any, Any]:
    """Return a sequence classifier and its tokenizer; raise EncoderError if it is incomplete."""
    from transformers import AutoModelForSequenceClassification

    from pyserini_jpq.encode.strict import load_with_tokenizer

    what = "sequence classifier"
    model, tokenizer = load_with_tokenizer(
        AutoModelForSequenceClassification, name, flag, what, unused=["position_ids"]
    )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise EncoderError(f"{flag} {name} has no tokenizer; put its files beside the weights")
    if (labels := int(model.config.num_labels)) > 2:
        raise EncoderError(
            f"{flag} {name} has {labels} labels; a reranker has one, or two of which the second says relevant"
        )
    return model, tokenizer


def _positions(model: Any) -> int:
    """Return the number of positions of a model; RoBERTa's start after the padding id."""
    found = [getattr(model.config, "max_position_embeddings", None) or sys.maxsize]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            found.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return int(min(found))

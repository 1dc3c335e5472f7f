"""The second stage: a cross-encoder scores the best hits of each query again."""

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.errors import CollectionError, EncoderError
from pyserini_jpq.search.latency import summary

_TEMPLATE = "{title} {text}"


class Reranker:
    """A sequence classifier of Hugging Face that scores pairs of query and document.

    Parameters
    ----------
    model
        Its name, or a folder. With one label its logit is the score; with two, the log-odds of the second.
    texts
        Documents by docid; or a collection, which is read when the model is found to be usable.
    hits
        How many of each query are scored.
    device
        `cpu`, `cuda`, `cuda:1` or `auto`.
    batch_size
        Pairs that are scored at once.
    max_length
        Most tokens of a pair, where the model does not end earlier. The longer of query and document is cut.

    Raises
    ------
    EncoderError
        If there is no such model, it has more than two labels, or lacks weights (a base model, a causal reranker).
    CollectionError
        If the collection cannot be read.
    """

    def __init__(
        self,
        model: str,
        texts: Mapping[str, str] | Path,
        hits: int = 30,
        device: str = "cpu",
        batch_size: int = 32,
        max_length: int = 512,
    ) -> None:
        from pyserini_jpq.encode.precision import resolve_device

        self._device = resolve_device(device)
        self._model, self._tokenizer = _load(model)
        self._model.to(self._device).eval()
        self._max_length = min(max_length, int(self._tokenizer.model_max_length), _positions(self._model))
        if self._max_length <= self._tokenizer.num_special_tokens_to_add(pair=True):
            raise EncoderError(f"--rerank {model} takes {self._max_length} tokens, which leaves none for the texts")
        # Without a padding token, or with one that the model does not know as such, pairs are scored one by one.
        padding = self._tokenizer.pad_token_id
        is_padded = padding is not None and padding == getattr(self._model.config, "pad_token_id", None)
        self._batch_size = batch_size if is_padded else 1
        self._texts = texts if isinstance(texts, Mapping) else read_texts(texts)
        self._hits = hits
        self.milliseconds: list[float] = []

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Score texts for one query, higher is better."""
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

    def latency(self) -> dict[str, dict[str, float]]:
        """Return median and 99th percentile of the milliseconds that a query took, and how many there were."""
        return {"wall": summary(self.milliseconds)}

    def rerank(self, query: str, hits: Sequence[Any]) -> list[Any]:
        """Order the best hits of a query by the classifier; those below stay below, in their order.

        Parameters
        ----------
        query
            The text.
        hits
            Best first, with `docid` and `score`.

        Returns
        -------
        list
            As many hits. The scores of those below are moved under the lowest of the classifier's.

        Raises
        ------
        CollectionError
            If the text of a hit is not known.
        """
        best, rest = hits[: self._hits], hits[self._hits :]
        if missing := [hit.docid for hit in best if hit.docid not in self._texts]:
            raise CollectionError(f"--corpus has no document {missing[0]!r}, which the index has; give its collection")
        started = time.perf_counter()
        scores = self.scores(query, [self._texts[hit.docid] for hit in best])
        self.milliseconds.append(1e3 * (time.perf_counter() - started))
        make = pyserini.dense_search_result()
        ordered = sorted(zip(scores, best, strict=True), key=lambda pair: -pair[0])
        found = [make(hit.docid, score) for score, hit in ordered]
        below = min(scores) - 1 - rest[0].score if rest else 0
        return found + [make(hit.docid, hit.score + below) for hit in rest]


def _load(name: str) -> tuple[Any, Any]:
    """Return a sequence classifier, all of whose weights were there, and its tokenizer."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from pyserini_jpq.encode.strict import load_strictly

    try:
        # Code of others is never run, nor asked about.
        load = partial(AutoModelForSequenceClassification.from_pretrained, name, trust_remote_code=False)
        model = load_strictly(load, f"--rerank {name}", unused=["position_ids"])
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except EncoderError:
        raise
    except Exception as problem:  # transformers, tokenizers and safetensors have many
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise EncoderError(f"--rerank {name} is no sequence classifier that can be loaded: {reason}") from None
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise EncoderError(f"--rerank {name} has no tokenizer; put its files beside the weights")
    if (labels := int(model.config.num_labels)) > 2:
        raise EncoderError(
            f"--rerank {name} has {labels} labels; a reranker has one, or two of which the second says relevant"
        )
    return model, tokenizer


def _positions(model: Any) -> int:
    """Return the most tokens that a model has positions for; RoBERTa and its kin count from the padding id on."""
    found = [getattr(model.config, "max_position_embeddings", None) or sys.maxsize]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            found.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return int(min(found))


def read_texts(corpus: Path) -> dict[str, str]:
    """Return all documents of a collection by docid, title and text joined by a space.

    Raises
    ------
    CollectionError
        If it cannot be read.
    """
    return {document.docid: document.render(_TEMPLATE) for document in Collection(corpus, skip_empty=True)}

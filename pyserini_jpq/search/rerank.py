"""The second stage: a cross-encoder reranks the best hits of each query."""

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.source import open_collection
from pyserini_jpq.errors import CollectionError, EncoderError, first_line
from pyserini_jpq.search.latency import summary

_TEMPLATE = "{title} {text}"


class Reranker:
    """A sequence classifier of Hugging Face that scores pairs of query and document.

    Parameters
    ----------
    model
        Name or folder. With one label the score is its logit; with two, the log-odds of the second.
    texts
        Texts by docid; or a collection, which is read after the model is loaded.
    hits
        Hits per query to score.
    device
        `cpu`, `cuda`, `cuda:1` or `auto`.
    batch_size
        Pairs per batch.
    max_length
        Most tokens of a pair, if the model allows as many; the longer of query and document is truncated.

    Raises
    ------
    EncoderError
        If the model cannot be loaded, has more than two labels, or lacks weights (a base model, a causal reranker).
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
        # Pairs are scored one by one if the tokenizer has no padding token, or not the model's.
        padding = self._tokenizer.pad_token_id
        is_padded = padding is not None and padding == getattr(self._model.config, "pad_token_id", None)
        self._batch_size = batch_size if is_padded else 1
        self._texts = texts if isinstance(texts, Mapping) else read_texts(texts)
        self._hits = hits
        self.milliseconds: list[float] = []

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

    def latency(self) -> dict[str, dict[str, float]]:
        """Return median and 99th percentile of the milliseconds per query, and the number of queries."""
        return {"wall": summary(self.milliseconds)}

    def rerank(self, query: str, hits: Sequence[Any]) -> list[Any]:
        """Rerank the best hits of a query by the classifier; the other hits keep their order below.

        Parameters
        ----------
        query
            The query's text.
        hits
            Hits with `docid` and `score`, best first.

        Returns
        -------
        list
            All hits. The scores of those that were not reranked are shifted below the classifier's lowest.

        Raises
        ------
        CollectionError
            If there is no text for a hit.
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
    """Return a sequence classifier and its tokenizer; raise EncoderError if it is incomplete."""
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
        raise EncoderError(
            f"--rerank {name} is no sequence classifier that can be loaded: {first_line(problem)}"
        ) from None
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise EncoderError(f"--rerank {name} has no tokenizer; put its files beside the weights")
    if (labels := int(model.config.num_labels)) > 2:
        raise EncoderError(
            f"--rerank {name} has {labels} labels; a reranker has one, or two of which the second says relevant"
        )
    return model, tokenizer


def _positions(model: Any) -> int:
    """Return the number of positions of a model; RoBERTa's start after the padding id."""
    found = [getattr(model.config, "max_position_embeddings", None) or sys.maxsize]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            found.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return int(min(found))


def read_texts(corpus: Path) -> dict[str, str]:
    """Return the texts of a collection by docid, with titles; raise CollectionError if it cannot be read."""
    return {document.docid: document.render(_TEMPLATE) for document in open_collection(corpus, skip_empty=True)}

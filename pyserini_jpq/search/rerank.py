"""The second stage: a cross-encoder scores the best hits of each query again."""

import time
from collections.abc import Mapping, Sequence
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
        Documents by docid.
    hits
        How many of each query are scored.
    device
        `cpu`, `cuda`, `cuda:1` or `auto`.
    batch_size
        Pairs that are scored at once.
    max_length
        Most tokens of a pair; the document is cut.

    Raises
    ------
    EncoderError
        If there is no such model, or it has more than two labels.
    """

    def __init__(
        self,
        model: str,
        texts: Mapping[str, str],
        hits: int = 30,
        device: str = "cpu",
        batch_size: int = 32,
        max_length: int = 512,
    ) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from pyserini_jpq.encode.precision import resolve_device

        try:
            self._model: Any = AutoModelForSequenceClassification.from_pretrained(model, trust_remote_code=False)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        except (OSError, ValueError) as problem:
            reason = str(problem).strip().splitlines()[0]
            raise EncoderError(f"--rerank {model} is no sequence classifier that can be loaded: {reason}") from None
        labels = int(self._model.config.num_labels)
        if labels > 2:
            raise EncoderError(
                f"--rerank {model} has {labels} labels; a reranker has one, or two of which the second says relevant"
            )
        self._device = resolve_device(device)
        self._model.to(self._device).eval()
        self._texts, self._hits, self._batch_size = texts, hits, batch_size
        self._max_length = min(max_length, int(self._tokenizer.model_max_length))
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
                    padding=True,
                    truncation="only_second",
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


def read_texts(corpus: Path) -> dict[str, str]:
    """Return all documents of a collection by docid, title and text joined by a space.

    Raises
    ------
    CollectionError
        If it cannot be read.
    """
    return {document.docid: document.render(_TEMPLATE) for document in Collection(corpus, skip_empty=True)}

"""The second stage: a cross-encoder reranks the best hits of each query."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.source import open_collection
from pyserini_jpq.encode.cross_encoder import CrossEncoder
from pyserini_jpq.errors import CollectionError
from pyserini_jpq.search.latency import summary

_TEMPLATE = "{title} {text}"


class Reranker(CrossEncoder):
    """A cross-encoder with the texts of the documents that it scores.

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
        super().__init__(model, device, batch_size, max_length, "--rerank")
        self._texts = texts if isinstance(texts, Mapping) else read_texts(texts)
        self._hits = hits
        self.milliseconds: list[float] = []

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


def read_texts(corpus: Path) -> dict[str, str]:
    """Return the texts of a collection by docid, with titles; raise CollectionError if it cannot be read."""
    return {document.docid: document.render(_TEMPLATE) for document in open_collection(corpus, skip_empty=True)}

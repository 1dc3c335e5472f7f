"""Encode queries, without Pyserini."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.data.lines import check_text
from pyserini_jpq.encode.backend import query_backend
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.pipeline import batches_by_length
from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.encode.source import EncoderSource, find_encoder
from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Floats

_BATCH, _PADDED_ON_CPU = 64, 16
"""Queries of a batch: on a CPU few, of like lengths, where they are padded, as padding costs what words do."""


class QueryVectors:
    """Encodes queries; threads can share it, and it can be pickled with its weights.

    Parameters
    ----------
    encoder, device, max_length, prefix, backend
        As in `JPQQueryEncoder`.

    Attributes
    ----------
    name : str
        Name of the encoder.
    encoder : Encoder
        The encoder in float32.

    Raises
    ------
    EncoderError
        If the encoder cannot be found or loaded.
    JPQError, InstallationError
        If the backend is unknown or not installed.
    """

    def __init__(
        self,
        encoder: str | Path | EncoderSource,
        device: str = "cpu",
        max_length: int | None = None,
        prefix: str | None = None,
        backend: str = "torch",
    ) -> None:
        source = encoder if isinstance(encoder, EncoderSource) else find_encoder(str(encoder))
        changes = {"max_length": max_length, "prefix": prefix}
        source = source.with_changes({"query": {k: v for k, v in changes.items() if v is not None}})
        self.name = source.name
        self.encoder = Encoder.load(source.card, source.folder).to(resolve_device(device))
        self._backend = query_backend(self.encoder, backend)

    @property
    def dimension(self) -> int:
        """The number of dimensions D of a vector."""
        return self.encoder.dimension

    def encode(self, queries: Sequence[str]) -> Floats:
        """Encode B queries to [B, D] float32.

        Raises
        ------
        JPQError
            If a query is empty or not a text.
        """
        check_queries(queries)
        padded = self.encoder.device.type == "cpu" and not getattr(self._backend, "packs", False)
        vectors = np.empty((len(queries), self.dimension), dtype=np.float32)
        for batch in batches_by_length(queries, _PADDED_ON_CPU if padded else _BATCH):
            vectors[batch] = self._backend([queries[i] for i in batch])
        return vectors


def check_queries(queries: Sequence[Any]) -> None:
    """Raise JPQError if a query is empty or not a text."""
    for query in queries:
        if not isinstance(query, str):
            raise JPQError(f"the query {query!r} is no text, but {type(query).__name__}")
        if not query.strip():
            raise JPQError("the query is empty; give it a word at least")
        check_text(query, f"the query {query!r}", JPQError)

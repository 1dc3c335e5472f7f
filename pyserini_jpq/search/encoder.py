"""The query encoder as one of Pyserini's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compat import pyserini
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.queries import QueryVectors, check_queries
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Floats

_QueryEncoder: Any = pyserini.query_encoder_base()


class JPQQueryEncoder(_QueryEncoder):  # type: ignore[misc]
    """A query encoder by folder, card or Hugging Face name, usable wherever Pyserini takes a `QueryEncoder`.

    Parameters
    ----------
    encoder_dir
        A folder that training wrote, the name of a card, or a Hugging Face name.
    device
        `cpu`, `cuda`, `cuda:1` or `auto`.
    max_length
        Most tokens of a query; the card's by default.
    prefix
        Text in front of every query; the card's by default.
    backend
        `torch`, `bfloat16`, `onnx` or `onnx-int8` (the extra `onnx`), or `openvino` (an extra, too).

    Raises
    ------
    EncoderError
        If the encoder cannot be found or loaded.
    JPQError, InstallationError
        If the backend is unknown or not installed.
    """

    def __init__(
        self,
        encoder_dir: str | Path | EncoderSource,
        device: str = "cpu",
        max_length: int | None = None,
        prefix: str | None = None,
        backend: str = "torch",
        **_: Any,
    ) -> None:
        super().__init__()
        self.vectors = QueryVectors(encoder_dir, device, max_length, prefix, backend)
        self.has_model = True

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.vectors.name

    @property
    def encoder(self) -> Encoder:
        """The encoder in float32."""
        return self.vectors.encoder

    def encode(self, query: str, **_: Any) -> Floats:
        """Encode a query to [D] float32."""
        vector: Floats = self.vectors.encode([query])[0]
        return vector

    def encode_batch(self, queries: Sequence[str], **_: Any) -> Floats:
        """Encode queries to [B, D] float32."""
        return self.vectors.encode(queries)


def encode_queries(encoder: Any, queries: Sequence[Any]) -> Floats:
    """Encode queries by any of Pyserini's query encoders, to [B, D] float32.

    Parameters
    ----------
    encoder
        A `QueryEncoder`.
    queries
        B texts, or dictionaries of keyword arguments for the `encode` of other encoders.

    Raises
    ------
    JPQError
        If a query is empty, or pre-encoded queries do not include it.
    """
    check_queries([query for query in queries if not isinstance(query, dict)])
    if isinstance(encoder, JPQQueryEncoder) and not any(isinstance(query, dict) for query in queries):
        return encoder.encode_batch(queries)
    try:
        return np.stack([encoder.encode(**q) if isinstance(q, dict) else encoder.encode(q) for q in queries])
    except KeyError as missing:
        raise JPQError(f"the encoded queries hold no vector for the query {missing}") from None

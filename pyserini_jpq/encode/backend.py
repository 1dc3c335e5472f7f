"""What computes vectors: torch, and on a CPU ONNX Runtime or OpenVINO."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.onnx_model import OnnxBackend
from pyserini_jpq.encode.openvino_model import OpenVinoBackend
from pyserini_jpq.encode.packing import can_pack, packed
from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan.threads import in_forked_process

BACKENDS = ("torch", "bfloat16", "onnx", "onnx-int8", "openvino")
"""Of queries."""
DOCUMENT_BACKENDS = ("torch", "onnx", "onnx-int8", "openvino")

Encode = Callable[[Sequence[str]], Floats]
Compute = Callable[[Sequence[Sequence[int]]], Floats]


class TorchCompute:
    """Encodes token ids by torch, in the number type that autocast or the encoder's weights have."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Encode the token ids of B texts to [B, D] float32."""
        return np.asarray(self._encoder(*self._encoder.pad(rows)).float().cpu().numpy())


class TorchBackend:
    """Encodes queries by torch, in the number type of the encoder's weights.

    Parameters
    ----------
    encoder
        The encoder, on any device.

    Attributes
    ----------
    packs : bool
        Whether texts share a row without padding, so that a batch may be large.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.packs = encoder.device.type == "cpu" and can_pack(encoder)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Encode B texts to [B, D] float32."""
        if in_forked_process() and torch.get_num_threads() > 1:
            torch.set_num_threads(1)  # torch would wait for threads that were not forked
        encoder = self._encoder
        with torch.inference_mode():
            batch = encoder.pad_queries(texts)
            vectors = packed(encoder, *batch) if self.packs else encoder(*batch)
            return np.asarray(vectors.float().cpu().numpy())


def query_backend(encoder: Encoder, backend: str) -> Encode:
    """Return a function that encodes queries; it can be pickled, and threads can share it.

    Parameters
    ----------
    encoder
        The encoder in float32; it is not changed.
    backend
        `torch`: the encoder itself; `bfloat16`: a copy with weights of 16 bits; `onnx`: float32 by ONNX Runtime;
        `onnx-int8`: weights of 7 and activations of 8 bits by ONNX Runtime; `openvino`: float32 by OpenVINO.

    Returns
    -------
    Callable
        From B texts to [B, D] float32.

    Raises
    ------
    JPQError
        If the backend is unknown, or does not run on the encoder's device.
    InstallationError
        If a package of the backend is missing.
    """
    _check(encoder, backend, BACKENDS)
    if backend in ("torch", "bfloat16"):
        return TorchBackend(encoder if backend == "torch" else copy.deepcopy(encoder).to(torch.bfloat16))
    return _exported(encoder, backend, threads=torch.get_num_threads(), calls=1)


def document_backend(encoder: Encoder, backend: str) -> Compute:
    """Return a function that encodes token ids of documents; threads can share it.

    Parameters
    ----------
    encoder
        The encoder; it is not changed.
    backend
        One of `DOCUMENT_BACKENDS`. Others than torch compute a call by one thread, as many calls at once as torch has
        threads.

    Raises
    ------
    JPQError, InstallationError, EncoderError
        As `query_backend`, and if the encoder cannot be exported.
    """
    _check(encoder, backend, DOCUMENT_BACKENDS)
    return (
        TorchCompute(encoder) if backend == "torch" else _exported(encoder, backend, 1, torch.get_num_threads()).compute
    )


def _exported(encoder: Encoder, backend: str, threads: int, calls: int) -> OnnxBackend:
    kind = OpenVinoBackend if backend == "openvino" else OnnxBackend
    return kind(encoder, backend == "onnx-int8", threads, calls)


def _check(encoder: Encoder, backend: str, known: Sequence[str]) -> None:
    if backend not in known:
        raise JPQError(f"no encoder backend {backend!r}; there are {', '.join(known)}")
    if backend not in ("torch", "bfloat16") and encoder.device.type != "cpu":
        raise JPQError(f"the encoder backend {backend} runs on the CPU, not on {encoder.device}; leave one out")

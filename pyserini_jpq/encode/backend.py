"""Backends that encode queries on the CPU: torch in float32 or bfloat16, ONNX Runtime."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.onnx_model import OnnxBackend
from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan.threads import in_forked_process

BACKENDS = ("torch", "bfloat16", "onnx", "onnx-int8")

Encode = Callable[[Sequence[str]], Floats]


class TorchBackend:
    """Encodes queries by torch, in the number type of the encoder's weights.

    Parameters
    ----------
    encoder
        The encoder, on any device.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Encode B texts to [B, D] float32."""
        if in_forked_process() and torch.get_num_threads() > 1:
            torch.set_num_threads(1)  # torch would wait for threads that were not forked
        with torch.inference_mode():
            return np.asarray(self._encoder.encode_queries(texts).float().cpu().numpy())


def query_backend(encoder: Encoder, backend: str) -> Encode:
    """Return a function that encodes queries; it can be pickled, and threads can share it.

    Parameters
    ----------
    encoder
        The encoder in float32; it is not changed.
    backend
        `torch`: the encoder itself; `bfloat16`: a copy with weights of 16 bits; `onnx`: float32 by ONNX Runtime;
        `onnx-int8`: weights and activations of 8 bits by ONNX Runtime.

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
    if backend not in BACKENDS:
        raise JPQError(f"no encoder backend {backend!r}; there are {', '.join(BACKENDS)}")
    if not backend.startswith("onnx"):
        return TorchBackend(encoder if backend == "torch" else copy.deepcopy(encoder).to(torch.bfloat16))
    if encoder.device.type != "cpu":
        raise JPQError(f"the encoder backend {backend} runs on the CPU, not on {encoder.device}; leave one out")
    return OnnxBackend(encoder, int8=backend == "onnx-int8")

"""What computes a query's vector on the CPU: torch in float32 or bfloat16, or ONNX Runtime."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.onnx_model import onnx_encoder
from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Floats

BACKENDS = ("torch", "bfloat16", "onnx", "onnx-int8")

Encode = Callable[[Sequence[str]], Floats]


def query_backend(encoder: Encoder, backend: str) -> Encode:
    """Return what encodes queries.

    Parameters
    ----------
    encoder
        The encoder in float32, which stays as it is.
    backend
        `torch`: the encoder itself; `bfloat16`: a copy with weights of 16 bits; `onnx`: the same arithmetic by ONNX
        Runtime; `onnx-int8`: there with weights and activations of 8 bits.

    Returns
    -------
    Callable
        Takes B texts, returns [B, D] float32.

    Raises
    ------
    JPQError
        If there is no such backend, or it does not run on the encoder's device.
    InstallationError
        If a package that it needs is missing.
    """
    if backend not in BACKENDS:
        raise JPQError(f"no encoder backend {backend!r}; there are {', '.join(BACKENDS)}")
    if backend.startswith("onnx"):
        if encoder.device.type != "cpu":
            raise JPQError(f"the encoder backend {backend} runs on the CPU, not on {encoder.device}; leave one out")
        return onnx_encoder(encoder, int8=backend == "onnx-int8")
    model = encoder if backend == "torch" else copy.deepcopy(encoder).to(torch.bfloat16)

    def encode(texts: Sequence[str]) -> Floats:
        with torch.inference_mode():
            return np.asarray(model.encode_queries(texts).float().cpu().numpy())

    return encode

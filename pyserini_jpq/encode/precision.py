"""Which device and which floating-point type an encoder computes with."""

import os

import torch

from pyserini_jpq.errors import JPQError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` into a device that is here.

    Of several processes that a launcher started on a machine, each gets a GPU of its own for `auto` and `cuda`.

    Raises
    ------
    JPQError
        If the device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise JPQError(f"device {name!r} cannot be used here: {reason}; use cpu") from None
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn `auto`, `float32`, `bfloat16`, `float16` into what to compute with.

    `auto` is float16 on a GPU (more digits than bfloat16 at the same speed) and, on a CPU, bfloat16 where the
    processor has instructions for it (AMX, AVX-512 BF16): twice as fast there, and slower than float32 elsewhere.
    """
    if name != "auto":
        return DTYPES[name]
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return torch.float32

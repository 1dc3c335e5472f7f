"""The device and the number type of an encoder."""

import os

import torch

from pyserini_jpq.errors import JPQError, first_line

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Return an available device by name: `auto`, `cpu`, `cuda`, `cuda:1`.

    Each process of a launcher gets its own GPU for `auto` and `cuda`.

    Raises
    ------
    JPQError
        If the device is unknown or not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError) as problem:
        raise JPQError(f"device {name!r} cannot be used here: {first_line(problem)}; use cpu") from None
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return a number type by name: `auto`, `float32`, `bfloat16`, `float16`.

    `auto` is float16 on a GPU: more precise than bfloat16 at the same speed. On a CPU it is bfloat16 if there are
    instructions for it (AMX, AVX-512 BF16), which make it twice as fast as float32; without them it is slower.
    """
    if name != "auto":
        return DTYPES[name]
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()):
        return torch.bfloat16
    return torch.float32

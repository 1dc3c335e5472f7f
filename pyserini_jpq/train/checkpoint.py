"""Checkpoints: all that a training run needs to go on as if it had never stopped."""

import os
from pathlib import Path
from typing import Any

import torch

from pyserini_jpq.errors import TrainingError

FILE = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all: the one before it stays until this one is on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{FILE}.partial"
    with open(beside, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, folder / FILE)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint, or None if there is none.

    Raises
    ------
    TrainingError
        If it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises whatever the broken file provokes
        reason = str(problem).strip().splitlines()[0]
        raise TrainingError(f"{path} cannot be read ({reason}); start over with --no-resume") from None
    return state


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's random numbers, on the CPU and on the device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put the state of torch's random numbers back."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

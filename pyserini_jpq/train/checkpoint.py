"""Checkpoints: the whole state of a training run, so that it resumes as if never interrupted."""

import os
import re
from pathlib import Path
from typing import Any

import torch

from pyserini_jpq import cli
from pyserini_jpq.errors import TrainingError, first_line
from pyserini_jpq.files import writing

_PATTERN = "checkpoint-*.pt"


class Checkpoints:
    """The checkpoints of a run, in one folder.

    Parameters
    ----------
    folder
        Folder of the checkpoints.
    keep
        Number of checkpoints to keep, the newest.
    writes
        Whether this process writes them; of several processes only the first does.
    """

    def __init__(self, folder: Path, keep: int = 2, writes: bool = True) -> None:
        self.folder = folder
        self._keep = keep
        self._writes = writes

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint atomically, then delete old ones."""
        if not self._writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"checkpoint-{step:09d}.pt"
        beside = path.with_suffix(".partial")
        try:
            with writing(path), open(beside, "wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            beside.unlink()
            raise
        os.replace(beside, path)
        for old in self._paths()[: -self._keep]:
            old.unlink()

    def newest(self) -> dict[str, Any] | None:
        """Return the newest readable checkpoint, or None if there are no checkpoints.

        Raises
        ------
        TrainingError
            If there are checkpoints but none is readable.
        """
        problem = ""
        for path in reversed(self._paths()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises whatever the broken file provokes
                problem = f"{path} cannot be read ({first_line(error)})"
                cli.warn(problem)
                continue
            return _with_todays_names(state)
        if problem:
            raise TrainingError(f"{problem}; start over with --no-resume")
        return None

    def newest_path(self) -> Path | None:
        """Return the path of the newest checkpoint, if there is one."""
        return next(reversed(self._paths()), None)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob(_PATTERN))


def _with_todays_names(state: dict[str, Any]) -> dict[str, Any]:
    """Rename the weights of `tower`, as older versions called the encoder, to `encoder`."""
    for part in ("model", "best"):
        if state.get(part):
            state[part] = {re.sub(r"^tower\.", "encoder.", name): value for name, value in state[part].items()}
    return state


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's random number generators, of the CPU and of the device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

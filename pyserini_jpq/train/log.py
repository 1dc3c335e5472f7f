"""The log of training: a JSONL file and, on request, TensorBoard."""

import json
from pathlib import Path
from typing import Any

from pyserini_jpq.errors import InstallationError, how_to_install

FILE = "training.jsonl"


class Log:
    """Figures by step, one JSON object a line.

    Parameters
    ----------
    path
        The JSONL file; None writes nothing.
    tensorboard
        A folder for TensorBoard, or None.

    Raises
    ------
    InstallationError
        If TensorBoard is asked for and not installed.
    """

    def __init__(self, path: Path | None, tensorboard: Path | None = None) -> None:
        self.path = path
        self._board = _tensorboard(tensorboard) if tensorboard else None

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Write figures of a step."""
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **figures}) + "\n")
        if self._board:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def rewind(self, step: int) -> None:
        """Drop the lines after a step, from which training resumes."""
        if self.path and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _step_of(line) <= step]
            self.path.write_text("".join(kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # cut off by a kill
        return float("inf")


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InstallationError(
            f"TensorBoard is not installed; run {how_to_install('tensorboard')}; or leave --tensorboard out"
        ) from None
    return SummaryWriter(str(folder))

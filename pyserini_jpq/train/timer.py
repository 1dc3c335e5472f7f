"""The time of a step by phase."""

import time

import torch

PHASES = ("encode", "search", "loss", "update")


class Timer:
    """Measures the mean time of each phase of a step, since it was last read.

    Parameters
    ----------
    device
        Device of the training; a GPU is synchronized at the end of each phase.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = 0.0
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._steps = 0

    def start(self) -> None:
        """Begin a step."""
        self._last = self._now()
        self._steps += 1

    def done(self, phase: str) -> None:
        """End a phase and begin the next."""
        now = self._now()
        self._seconds[phase] += now - self._last
        self._last = now

    def read(self) -> dict[str, float]:
        """Return the mean milliseconds of each phase, and reset."""
        means = {phase: 1000 * seconds / max(1, self._steps) for phase, seconds in self._seconds.items()}
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._steps = 0
        return means

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

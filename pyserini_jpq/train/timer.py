"""Where the time of a step goes."""

import time

import torch

PHASES = ("encode", "search", "loss", "update")


class Timer:
    """Adds up the seconds of each phase of the steps since it was last read.

    Parameters
    ----------
    device
        What is computed on; a GPU is waited for at the end of each phase.
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
        """End a phase, and begin the next one."""
        now = self._now()
        self._seconds[phase] += now - self._last
        self._last = now

    def read(self) -> dict[str, float]:
        """Return the milliseconds that each phase took on average, and begin anew."""
        means = {phase: 1000 * seconds / max(1, self._steps) for phase, seconds in self._seconds.items()}
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._steps = 0
        return means

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

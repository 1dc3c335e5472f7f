"""An orderly end of training on Ctrl-C or SIGTERM."""

import signal
import threading
from types import FrameType
from typing import Any

from pyserini_jpq import cli


class StopRequest:
    """A block in which the first Ctrl-C or SIGTERM asks to stop after the step, and the second stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        """Install the handlers; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt("stopped at once; the same command goes on from the last checkpoint")
        self.requested = True
        cli.say("\nstopping after this step; a checkpoint will be written (again to stop at once)")

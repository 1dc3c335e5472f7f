"""Functions that run in a forked child, to be killed there or to meet others."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "shutil.copyfile")
"""The events of Python's audit hooks that change a disk."""


def forked(function: Callable[[], int | None], wait: bool = True) -> int:
    """Run a function in a child; return its exit status (minus a signal's number), or without waiting its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does not use
        child = os.fork()
    if child == 0:
        status = 70
        try:
            _use_one_thread()
            status = function() or 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if wait else child


def _use_one_thread() -> None:
    """OpenMP's other threads do not live on in a child, which would wait for them for ever."""
    for name, limit in (("faiss", "omp_set_num_threads"), ("torch", "set_num_threads")):
        if name in sys.modules:
            getattr(sys.modules[name], limit)(1)


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has, where the system says how many it has."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def killed_at_each_step(function: Callable[[], Any], most: int = 1000, every: int = 1) -> Iterator[int]:
    """Run a function again and again in a child that is killed before its first, second, ... step on the disk.

    Where a run takes long, `every` leaves out all steps but each third, or whatever it says.

    Yields the number of the step after each kill; ends when the function came to its end.
    """
    for step in range(1, most, every):
        if forked(lambda step=step: _killed_before(function, step)) == 0:
            return
        yield step
    raise AssertionError("it never came to its end")


def _killed_before(function: Callable[[], Any], step: int) -> None:
    left = [step]

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not _writes(arguments):
            return
        if event in STEPS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    function()


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

"""How many threads to use: no more than there are cores, and what a forked process must leave alone."""

import os

_forked = False


def usable(threads: int) -> int:
    """Return how many of the threads that are asked for to use: at most one a core."""
    return threads if threads <= 1 else min(threads, _cores())


def in_forked_process() -> bool:
    """Tell whether this process was forked: threads that OpenMP started before are gone then, and it waits for them."""
    return _forked


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)

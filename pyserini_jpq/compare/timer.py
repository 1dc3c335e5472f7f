"""Timers, and the memory of a process."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.latency import summary

TIMERS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.thread_time}
"""`cpu` leaves out the time that other processes had the core."""

WARM_UP = 20
TIMED = 200
TUNED = 60
_STATM = Path("/proc/self/statm")

Search = Callable[[Floats, int], Any]


def timed(work: Callable[[], Any], timer: str) -> float:
    """Return the seconds that a call takes, by a timer of `TIMERS`."""
    now = TIMERS[timer]
    started = now()
    work()
    return now() - started


def measured(work: Callable[[int], Any], count: int, warm_up: int = 0) -> dict[str, dict[str, float]]:
    """Time `count` calls, by both timers.

    Parameters
    ----------
    work
        Takes the number of the call.
    count
        Number of timed calls.
    warm_up
        Number of calls before them.

    Returns
    -------
    dict
        `median_ms`, `p99_ms` and `count` by timer.
    """
    for i in range(warm_up):
        work(i)
    taken: dict[str, list[float]] = {timer: [] for timer in TIMERS}
    for i in range(count):
        started = {timer: now() for timer, now in TIMERS.items()}
        work(i)
        for timer, now in TIMERS.items():
            taken[timer].append(1e3 * (now() - started[timer]))
    return {timer: summary(values) for timer, values in taken.items()}


def latency(search: Search, queries: Floats, k: int, count: int = TIMED) -> dict[str, dict[str, float]]:
    """Time `count` searches of single queries, [B, D] float32; after the last query comes the first again."""
    return measured(lambda i: search(queries[i % len(queries)][None], k), count, min(WARM_UP, count))


def best_value(medians: dict[int, float], target: float) -> int:
    """Return the largest search parameter that is not slower than the target, or the fastest if all are slower."""
    within = [value for value, median in medians.items() if median <= target]
    return max(within) if within else min(medians, key=lambda value: medians[value])


def resident_bytes() -> int | None:
    """Return the resident memory of this process; None where the system does not say."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")

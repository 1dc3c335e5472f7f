"""Time and memory of one search engine: a query at a time, one thread."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.latency import summary

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.thread_time}
"""`cpu` leaves out the time in which other processes had the core."""

WARM_UP = 20
TIMED = 200
TUNED = 60
_STATM = Path("/proc/self/statm")

Search = Callable[[Floats, int], Any]


def latency(search: Search, queries: Floats, k: int, count: int = TIMED) -> dict[str, dict[str, float]]:
    """Time queries one by one, by both clocks.

    Parameters
    ----------
    search
        Takes [1, D] float32 and k.
    queries
        [B, D] float32; from the first on again where they are fewer than `count`.
    k
        Hits wanted.
    count
        How many searches are timed; some before them are not.

    Returns
    -------
    dict
        By clock `median_ms`, `p99_ms` and the number of searches, `count`.
    """
    for i in range(min(WARM_UP, count)):
        search(queries[i % len(queries)][None], k)
    taken: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    for i in range(count):
        query = queries[i % len(queries)][None]
        started = {clock: now() for clock, now in CLOCKS.items()}
        search(query, k)
        for clock, now in CLOCKS.items():
            taken[clock].append(1e3 * (now() - started[clock]))
    return {clock: summary(values) for clock, values in taken.items()}


def best_effort(medians: dict[int, float], target: float) -> int:
    """Return the largest effort that is not slower than the target; the fastest one where all are slower."""
    within = [effort for effort, median in medians.items() if median <= target]
    return max(within) if within else min(medians, key=lambda effort: medians[effort])


def resident_bytes() -> int | None:
    """Return the resident memory of this process; None where the system does not say."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")

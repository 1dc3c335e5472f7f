"""Statistics of the latency of queries."""

import statistics
from collections.abc import Sequence


def summary(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile (nearest rank) and number of times.

    Parameters
    ----------
    milliseconds
        The time of each query; at least one.

    Returns
    -------
    dict
        `median_ms`, `p99_ms` and `count`.
    """
    ordered = sorted(milliseconds)
    last = -(-99 * len(ordered) // 100) - 1
    return {"median_ms": statistics.median(ordered), "p99_ms": ordered[last], "count": len(ordered)}

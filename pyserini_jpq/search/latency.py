"""How times of single queries are summed up."""

import statistics
from collections.abc import Sequence


def summary(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return median and 99th percentile (the nearest value above) of times, and how many there are.

    Parameters
    ----------
    milliseconds
        One time a query, one at least.

    Returns
    -------
    dict
        `median_ms`, `p99_ms` and `count`.
    """
    ordered = sorted(milliseconds)
    last = -(-99 * len(ordered) // 100) - 1
    return {"median_ms": statistics.median(ordered), "p99_ms": ordered[last], "count": len(ordered)}

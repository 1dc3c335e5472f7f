"""Time of engines, turn by turn in one process, so that what disturbs the machine disturbs all of them."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.engines import Engine
from pyserini_jpq.quantizer import Codes, Floats

CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
"""`cpu` leaves out the time in which other processes had the core; for one thread only."""


@dataclass
class Row:
    """What one engine took for one kind of request.

    Attributes
    ----------
    milliseconds
        Per query and million documents, the median.
    speedup
        IndexPQ's time by this one's, the median of the ratios of each round.
    floors
        This time, for each query, by that of reading the codes once; the median of the ratios. Below 1 where a batch
        shares a read.
    recall
        Of the exact best k over the same codes.
    """

    engine: str
    queries: int
    k: int
    threads: int
    milliseconds: float
    speedup: float
    floors: float
    recall: float
    bytes_per_document: float

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)


def read_once(codes: Codes) -> None:
    """Read all codes with one core, doing as little as possible with them."""
    flat = codes.reshape(-1)
    np.bitwise_or.reduce(flat[: flat.size // 8 * 8].view(np.uint64))


def compare(
    engines: list[Engine], codes: Codes, queries: Floats, k: int, threads: int, rounds: int, clock: str = "wall"
) -> list[Row]:
    """Measure all engines on one batch of queries, in rounds.

    Parameters
    ----------
    engines
        The first is what the others are compared with.
    codes
        [N, M] uint8, for the floor.
    queries
        [B, D] float32, searched as one batch.
    k
        Hits wanted.
    threads
        Threads of each engine; the floor is read by one.
    rounds
        Each runs all engines once, after one round that does not count.
    clock
        A key of `CLOCKS`.
    """
    import faiss

    faiss.omp_set_num_threads(threads)
    found = {engine.name: engine.search(queries, k)[1] for engine in engines}
    times: dict[str, list[float]] = {engine.name: [] for engine in engines}
    floor: list[float] = []
    for _ in range(rounds):
        floor.append(_time(lambda: read_once(codes), clock))
        for engine in engines:
            times[engine.name].append(_time(lambda engine=engine: engine.search(queries, k), clock))  # type: ignore[misc]
    base = np.array(times[engines[0].name])
    scale = 1e3 / len(queries) * 1e6 / len(codes)
    rows = []
    for engine in engines:
        took = np.array(times[engine.name])
        rows.append(
            Row(
                engine.name,
                len(queries),
                k,
                threads,
                float(np.median(took) * scale),
                float(np.median(base / took)),
                float(np.median(took / len(queries) / np.array(floor))),
                recall(found[engine.name], found[engine.exact]),
                engine.bytes_per_document,
            )
        )
    return rows


def recall(found: Any, exact: Any) -> float:
    """Return the share of the exact best documents that were found, over all queries."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)]))


def _time(work: Callable[[], Any], clock: str) -> float:
    now = CLOCKS[clock]
    start = now()
    work()
    return now() - start

"""Time of engines, turn by turn in one process, so that what disturbs the machine disturbs all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.data import Batch, Data
from pyserini_jpq.compare.timer import timed
from pyserini_jpq.quantizer import Codes

_LEAST_QUERIES = 32

Search = Callable[[Any, int], tuple[Any, Any]]
"""Queries, [B, D] float32 or B texts, and k, to scores and rows, [B, k] or B arrays."""


@dataclass
class Contender:
    """One way to search.

    Attributes
    ----------
    name
        As it is printed.
    search
        As faiss has it.
    bytes_per_document
        Of what it keeps, whether in memory or on disk.
    exact
        The contender whose results are exact over the same documents.
    of_text
        Whether it takes texts and no vectors.
    keep
        What must live as long.
    """

    name: str
    search: Search
    bytes_per_document: float
    exact: str = "IndexPQ"
    of_text: bool = False
    keep: tuple[Any, ...] = ()


@dataclass
class Figures:
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
        Of the exact best k over the same codes; of all topics where there are any, else of the first 32 queries, or of
        the first batch if it is larger.
    ndcg
        nDCG@10 over all topics, where they are judged.
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
    ndcg: float | None = None


def read_once(codes: Codes) -> None:
    """Read all codes with one core, doing as little as possible with them."""
    flat = codes.reshape(-1)
    np.bitwise_or.reduce(flat[: flat.size // 8 * 8].view(np.uint64))


def compare(
    engines: list[Contender], data: Data, size: int, k: int, threads: int, rounds: int, timer: str = "wall"
) -> list[Figures]:
    """Measure all engines on batches of queries, in rounds.

    Parameters
    ----------
    engines
        The first is what the others are compared with.
    data
        Documents and queries; each round takes other queries.
    size
        Queries that are searched as one batch.
    k
        Hits wanted.
    threads
        Threads of each engine; the floor is read by one.
    rounds
        Each runs all engines once, after one round that does not count.
    timer
        A key of `TIMERS`.
    """
    import faiss

    faiss.omp_set_num_threads(threads)
    judged = data.queries if data.qids else data.queries.part(0, max(size, _LEAST_QUERIES))
    found = {engine.name: _search(engine, judged, k)[1] for engine in engines}
    times: dict[str, list[float]] = {engine.name: [] for engine in engines}
    floor: list[float] = []
    for number in range(rounds):
        batch = data.queries.part(number, size)
        floor.append(timed(lambda: read_once(data.codes), timer))
        for engine in engines:
            times[engine.name].append(timed(lambda e=engine, b=batch: _search(e, b, k), timer))  # type: ignore[misc]
    base = np.array(times[engines[0].name])
    scale = 1e3 / size * 1e6 / len(data.codes)
    rows = []
    for engine in engines:
        took = np.array(times[engine.name])
        rows.append(
            Figures(
                engine.name,
                size,
                k,
                threads,
                float(np.median(took) * scale),
                float(np.median(base / took)),
                float(np.median(took / size / np.array(floor))),
                recall(found[engine.name], found[engine.exact]),
                engine.bytes_per_document,
                # Engines that are exact by another one have documents of their own.
                ndcg(found[engine.name], data) if engine.exact == engines[0].name else None,
            )
        )
    return rows


def _search(engine: Contender, batch: Batch, k: int) -> tuple[Any, Any]:
    return engine.search(batch.texts if engine.of_text else batch.vectors, k)


def ndcg(found: Any, data: Data) -> float | None:
    """Return nDCG@10 of the rows found for all topics, in their order; None where nothing is judged."""
    from pyserini_jpq.evaluate.metrics import Metrics

    if not data.qrels:
        return None
    run = {
        qid: {data.docids[row]: -float(rank) for rank, row in enumerate(rows) if row >= 0}
        for qid, rows in zip(data.qids, found, strict=True)
    }
    (values,) = Metrics(["nDCG@10"]).per_query(data.qrels, run).values()
    return float(values.mean())


def recall(found: Any, exact: Any) -> float:
    """Return the share of the exact best documents that were found, over all queries."""
    return float(np.mean([len(np.intersect1d(a, b)) / max(1, len(b)) for a, b in zip(found, exact, strict=True)]))

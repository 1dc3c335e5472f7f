"""Metrics of each query, and significance tests against the reference."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import Rows
from pyserini_jpq.compare.rows import TOP, Row
from pyserini_jpq.evaluate.metrics import Metrics, Qrels, Run, paired_t_test
from pyserini_jpq.evaluate.significance import holm
from pyserini_jpq.files import write_text_atomically
from pyserini_jpq.quantizer import Floats


def run_of(file: Path, qids: Sequence[str], docids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the hits in a file of `worker` as scores by qid and docid; rows of -1 are no hits.

    Parameters
    ----------
    file
        `scores` [Q, k] float32 and `rows` [Q, k] int64.
    qids
        Q query ids.
    docids
        N docids in row order.
    """
    with np.load(file) as found:
        return named_hits(found["scores"], found["rows"], qids, docids)


def named_hits(scores: Floats, rows: Rows, qids: Iterable[str], docids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return hits, [Q, k] each, as scores by qid and docid; rows of -1 are no hits."""
    return {
        qid: {docids[row]: float(score) for row, score in zip(best, values, strict=True) if row >= 0}
        for qid, best, values in zip(qids, rows, scores, strict=True)
    }


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Return docids as trec_eval ranks them: by score, equal ones by docid, the last first."""
    return sorted(scores, key=lambda docid: (np.float32(scores[docid]), docid.encode()), reverse=True)


def score(row: Row, run: Run, qrels: Qrels, metrics: Metrics) -> None:
    """Fill a row with the metrics of a run and with its best hits."""
    values = metrics.per_query(qrels, run)
    row.per_query = {name: [float(value) for value in each] for name, each in values.items()}
    row.metrics = {name: float(each.mean()) for name, each in values.items()}
    row.top = {qid: ranked(run[qid])[:TOP] for qid in qrels if qid in run}
    row.measured = True


def means(run: Run, qrels: Qrels, metrics: Metrics) -> dict[str, float]:
    """Return the metrics of a run."""
    return {name: float(values.mean()) for name, values in metrics.per_query(qrels, run).items()}


def compare_with(reference: Row, rows: Sequence[Row]) -> None:
    """Fill rows with p values of paired t-tests against the reference, and with Holm's correction over all rows."""
    others = [row for row in rows if row.measured and row is not reference]
    for metric in reference.metrics:
        base = np.array(reference.per_query[metric])
        p_values = [paired_t_test(np.array(row.per_query[metric]), base) for row in others]
        for row, plain, corrected in zip(others, p_values, holm(p_values), strict=True):
            row.p[metric], row.p_holm[metric] = plain, corrected


def write_run(file: Path, run: Mapping[str, Mapping[str, float]], tag: str) -> None:
    """Write a run in TREC's format, hits in trec_eval's order, scores with all their digits."""
    lines: list[Any] = []
    for qid, scores in run.items():
        lines += [
            f"{qid} Q0 {docid} {rank} {float(scores[docid])!r} {tag}\n" for rank, docid in enumerate(ranked(scores), 1)
        ]
    write_text_atomically(file, "".join(lines))

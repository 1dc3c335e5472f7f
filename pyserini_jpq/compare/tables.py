"""The tables of a report, from its rows."""

from collections.abc import Sequence

from pyserini_jpq.compare.rows import Row, flat_row
from pyserini_jpq.evaluate.table import NONE, Table, marks, p_value


def effectiveness(rows: Sequence[Row], metrics: Sequence[str], documents: int) -> Table:
    """Return the costs and the metrics of each system, with marks of significance."""
    flat = flat_row(rows)
    header = ["system", "kind", "bytes/doc", "index file (beside codes)", "resident", "smaller than flat"]
    body = []
    for row in rows:
        line = [row.title, row.group, _number(row.code_bytes, 0), _file_size(row, documents)]
        line += [_size(row.resident_bytes), _ratio(flat.code_bytes if flat else None, row.code_bytes)]
        line += [f"{row.metrics[m]:.4f}{marks(row.p_holm.get(m))}" if row.measured else NONE for m in metrics]
        body.append([*line, row.note])
    return Table([*header, *metrics, "note"], body, frozenset({0, 1, len(header) + len(metrics)}))


def speed(rows: Sequence[Row], metric: str, timer: str) -> Table:
    """Return the latency of each system that was searched here, beside the first metric."""
    flat = flat_row(rows)
    base = flat.median(timer) if flat else None
    body = []
    for row in rows:
        if row.latency is None:
            continue
        taken = row.latency[timer]
        encode = row.encode[timer]["median_ms"] if row.encode else None
        line = [row.title, f"{row.metrics[metric]:.4f}", _number(taken["median_ms"], 3), _number(taken["p99_ms"], 3)]
        line += [_ratio(base, taken["median_ms"], 2) if row.encode else NONE, _number(encode, 1)]
        body.append([*line, NONE if row.parameter is None else str(row.parameter), _number(row.build_seconds, 1)])
    header = ["system", metric, "median ms", "p99 ms", "speed-up against flat", "query encoder ms"]
    return Table([*header, "search parameter", "build s"], body)


def tests(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """Return the p values, uncorrected and corrected."""
    header = ["system", *(name for metric in metrics for name in (f"{metric}: p", "Holm"))]
    tested = [row for row in rows if row.p]
    return Table(header, [[r.title, *(p_value(p[m]) for m in metrics for p in (r.p, r.p_holm))] for r in tested])


def _file_size(row: Row, documents: int) -> str:
    """Return the size of an index's files, and in parentheses the part that does not hold codes."""
    if row.disk_bytes is None or row.code_bytes is None:
        return _size(row.disk_bytes)
    return f"{_size(row.disk_bytes)} ({_size(max(0, row.disk_bytes - row.code_bytes * documents))})"


def _size(count: float | None) -> str:
    if count is None:
        return NONE
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} GB" if count < 1000 else f"{count:,.0f} GB"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"


def _ratio(whole: float | None, part: float | None, digits: int = 0) -> str:
    return NONE if not whole or not part else f"{whole / part:,.{digits}f}x"

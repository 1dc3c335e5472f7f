"""The tables of a report, from its rows."""

from collections.abc import Sequence

from pyserini_jpq.compare.measuring import flat_row
from pyserini_jpq.compare.pages import Table
from pyserini_jpq.compare.rows import Row

NONE = "-"
_SIGNIFICANT = ((0.01, "**"), (0.05, "*"))


def effectiveness(rows: Sequence[Row], metrics: Sequence[str], documents: int) -> Table:
    """Return what each system takes and reaches, with the marks of significance."""
    flat = flat_row(list(rows))
    header = ["system", "kind", "bytes/doc", "index file, bytes/doc", "resident, bytes/doc", "compression", *metrics]
    body = []
    for row in rows:
        line = [row.title, row.group, _number(row.code_bytes, 0)]
        line += [_number(_each(row.disk_bytes, documents), 1), _number(_each(row.resident_bytes, documents), 1)]
        line.append(_ratio(flat.code_bytes if flat else None, row.code_bytes))
        line += [f"{row.metrics[m]:.4f}{marks(row.p_holm.get(m))}" if row.measured else NONE for m in metrics]
        body.append([*line, row.note])
    return Table([*header, "note"], body, frozenset({1, len(header)}))


def speed(rows: Sequence[Row], metric: str, clock: str) -> Table:
    """Return the latency of each system that was searched here, beside the first metric."""
    flat = flat_row(list(rows))
    base = flat.median(clock) if flat else None
    body = []
    for row in rows:
        if row.latency is None:
            continue
        taken = row.latency[clock]
        encode = row.encode[clock]["median_ms"] if row.encode else None
        line = [row.title, f"{row.metrics[metric]:.4f}", _number(taken["median_ms"], 3), _number(taken["p99_ms"], 3)]
        line += [_ratio(base, taken["median_ms"], 2) if row.encode else NONE, _number(encode, 1)]
        body.append([*line, NONE if row.effort is None else str(row.effort), _number(row.build_seconds, 1)])
    header = ["system", metric, "median ms", "p99 ms", "speed-up against flat", "query encoder ms", "effort"]
    return Table([*header, "build s"], body)


def tests(rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    """Return the p values, as they are and corrected."""
    header = ["system", *(name for metric in metrics for name in (f"{metric}: p", "Holm"))]
    body = [[row.title, *(_p(value) for m in metrics for value in (row.p[m], row.p_holm[m]))] for row in rows if row.p]
    return Table(header, body)


def marks(p: float | None) -> str:
    """Return the mark of a p value: `**` below .01, `*` below .05."""
    return next((mark for bound, mark in _SIGNIFICANT if p is not None and p < bound), "")


def _p(value: float) -> str:
    return "<.0001" if value < 0.0001 else f"{value:.4f}"


def _each(total: int | None, documents: int) -> float | None:
    return None if total is None else total / documents


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:,.{digits}f}"


def _ratio(whole: float | None, part: float | None, digits: int = 0) -> str:
    return NONE if not whole or not part else f"{whole / part:,.{digits}f}x"

"""Renders a comparison of runs as text, Markdown or JSON: one row a run."""

import json
from collections.abc import Callable, Sequence

from pyserini_jpq.evaluate.runs import Comparison, RunResult

_NONE = "-"
_SIGNIFICANT = ((0.01, "**"), (0.05, "*"))
_SMALLEST_P = 0.0001


def render(comparison: Comparison, table_format: str = "text") -> str:
    """Return the table in one of `FORMATS`, without a newline at its end."""
    return FORMATS[table_format](comparison)


def as_text(comparison: Comparison) -> str:
    """Return the table in aligned columns, and a line that says what they are."""
    rows = _rows(comparison)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(_align(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", *_legend(comparison)])


def as_markdown(comparison: Comparison) -> str:
    """Return the table in GitHub's Markdown, and a line that says what its columns are."""
    rows = [[_escape(cell.strip()) for cell in row] for row in _rows(comparison)]
    rows.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", _escape("; ".join(_legend(comparison)))])


def as_json(comparison: Comparison) -> str:
    """Return the figures in full precision: a list `runs`, and what they were compared with and on."""
    return json.dumps(as_dict(comparison), indent=2, ensure_ascii=False)


def as_dict(comparison: Comparison) -> dict[str, object]:
    """Return what is written as JSON: for each of `runs` its `run`, `bytes_per_document`, `metrics` and `p`."""
    return {
        "runs": [
            {
                "run": run.name,
                "bytes_per_document": run.bytes_per_document,
                "metrics": run.metrics,
                "p": run.p,
            }
            for run in comparison.runs
        ],
        "baseline": comparison.baseline,
        "queries": comparison.queries,
    }


FORMATS: dict[str, Callable[[Comparison], str]] = {"text": as_text, "markdown": as_markdown, "json": as_json}


def _rows(comparison: Comparison) -> list[list[str]]:
    """Return the header and the rows; the column of p values is left out where there is nothing to compare with."""
    is_tested = len(comparison.runs) > 1
    header = ["run", "bytes/doc"]
    for metric in comparison.metrics:
        # The two spaces stand over the markers.
        header += [f"{metric}  ", "p"] if is_tested else [metric]
    return [header, *(_row(run, comparison.metrics, is_tested) for run in comparison.runs)]


def _row(run: RunResult, metrics: Sequence[str], is_tested: bool) -> list[str]:
    row = [run.name, _NONE if run.bytes_per_document is None else f"{run.bytes_per_document:.10g}"]
    for metric in metrics:
        value = f"{run.metrics[metric]:.4f}"
        p = run.p.get(metric)
        row += [f"{value}{_marker(p):2}", _p_value(p)] if is_tested else [value]
    return row


def _marker(p: float | None) -> str:
    return next((marker for bound, marker in _SIGNIFICANT if p is not None and p < bound), "")


def _p_value(p: float | None) -> str:
    if p is None:
        return _NONE
    return f"<{_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.4f}"


def _legend(comparison: Comparison) -> list[str]:
    queries = f"{comparison.queries} quer{'y' if comparison.queries == 1 else 'ies'}"
    if len(comparison.runs) == 1:
        return [queries]
    test = f"p: two-sided paired t-test against {comparison.baseline}, not corrected for the number of comparisons"
    return [f"{queries}; {test}", "* p < .05, ** p < .01"]


def _align(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)


def _escape(text: str) -> str:
    for character in "\\|*<":
        text = text.replace(character, f"\\{character}")
    return text

"""Tables as text, Markdown and HTML by one renderer, and the table of a comparison of runs."""

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyserini_jpq.evaluate.runs import Comparison, RunResult

NONE = "-"
FORMATS = ("text", "markdown", "json")
_SIGNIFICANT = ((0.01, "**"), (0.05, "*"))
_SMALLEST_P = 0.0001
_LONG = 40
# Control characters, line and paragraph separators, changes of writing direction, halves of surrogate pairs.
_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_MARKDOWN = re.compile(r"([\\|*<_$`\[])")


@dataclass(frozen=True)
class Table:
    """A table; the columns in `texts` are aligned left, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: frozenset[int] = frozenset({0})


def plain(text: str) -> str:
    """Return a text on one line: characters that would break a table become a space."""
    return _BREAKING.sub(" ", text)


def escaped(text: str) -> str:
    """Return a text with the special characters of Markdown escaped."""
    return _MARKDOWN.sub(r"\\\1", plain(text))


def as_text(table: Table) -> str:
    """Return the table in aligned columns."""
    lines = [[plain(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join(
            cell.ljust(width) if column in table.texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in lines
    ]
    return "\n".join(line.rstrip() for line in aligned)


def as_markdown(table: Table) -> str:
    """Return the table in GitHub's Markdown."""
    rule = ["---" if column in table.texts else "---:" for column in range(len(table.header))]
    header, *rows = [[escaped(cell.strip()) for cell in row] for row in (table.header, *table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def as_html(table: Table) -> str:
    """Return the table in HTML, in a box that scrolls on narrow pages."""
    classes = []
    for column, cells in enumerate(zip(table.header, *table.rows, strict=True)):
        long = " long" if max(map(len, cells)) > _LONG else ""
        classes.append(f' class="text{long}"' if column in table.texts else "")
    lines = [("th", table.header), *(("td", row) for row in table.rows)]
    rows = [
        "".join(f"<{tag}{kind}>{html.escape(plain(cell))}</{tag}>" for cell, kind in zip(row, classes, strict=True))
        for tag, row in lines
    ]
    return f'<div class="table"><table>{"".join(f"<tr>{row}</tr>" for row in rows)}</table></div>'


def render(comparison: Comparison, table_format: str = "text") -> str:
    """Return the table of a comparison in one of `FORMATS`, without a newline at its end."""
    if table_format == "json":
        return json.dumps(as_dict(comparison), indent=2, ensure_ascii=False)
    table, legend = compared(comparison), _legend(comparison)
    if table_format == "markdown":
        return f"{as_markdown(table)}\n\n{escaped('; '.join(legend))}"
    return "\n".join([as_text(table), "", *map(plain, legend)])


def compared(comparison: Comparison) -> Table:
    """Return a table with one row a run; a single run has no p values."""
    is_tested = len(comparison.runs) > 1
    header = ["run", "bytes/doc"]
    for metric in comparison.metrics:
        # The two spaces are above the marks.
        header += [f"{metric}  ", "p"] if is_tested else [metric]
    return Table(header, [_row(run, comparison.metrics, is_tested) for run in comparison.runs])


def as_dict(comparison: Comparison) -> dict[str, object]:
    """Return the content of the JSON file: `run`, `bytes_per_document`, `metrics` and `p` of each of `runs`."""
    runs = [
        {"run": run.name, "bytes_per_document": run.bytes_per_document, "metrics": run.metrics, "p": run.p}
        for run in comparison.runs
    ]
    return {"runs": runs, "baseline": comparison.baseline, "queries": comparison.queries}


def marks(p: float | None) -> str:
    """Return the marks of a p value: `**` below .01, `*` below .05."""
    return next((mark for bound, mark in _SIGNIFICANT if p is not None and p < bound), "")


def p_value(p: float | None) -> str:
    """Return a p value as a table shows it."""
    if p is None:
        return NONE
    return f"<{_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.4f}"


def _row(run: RunResult, metrics: Sequence[str], is_tested: bool) -> list[str]:
    row = [run.name, NONE if run.bytes_per_document is None else f"{run.bytes_per_document:.10g}"]
    for metric in metrics:
        value, p = f"{run.metrics[metric]:.4f}", run.p.get(metric)
        row += [f"{value}{marks(p):2}", p_value(p)] if is_tested else [value]
    return row


def _legend(comparison: Comparison) -> list[str]:
    queries = f"{comparison.queries} quer{'y' if comparison.queries == 1 else 'ies'}"
    if len(comparison.runs) == 1:
        return [queries]
    test = f"p: two-sided paired t-test against {comparison.baseline}, not corrected for the number of comparisons"
    return [f"{queries}; {test}", "* p < .05, ** p < .01"]

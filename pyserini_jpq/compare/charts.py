"""The charts of a report."""

from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq.compare.pages import Image
from pyserini_jpq.compare.rows import Row, flat_row
from pyserini_jpq.evaluate.figures import (
    Line,
    Point,
    decade_ticks,
    finish,
    log_ticks,
    look,
    new_figure,
    save,
    scatter,
)
from pyserini_jpq.evaluate.table import plain

_LARGE = (10.0, 7.0)
_FEWEST_TRAININGS = 3


def draw_all(rows: Sequence[Row], metrics: Sequence[str], timer: str, folder: Path) -> list[Image]:
    """Draw the charts for which the rows have data.

    Parameters
    ----------
    rows
        All rows; those without figures are left out.
    metrics
        The first two are drawn.
    timer
        Of the latencies.
    folder
        Where the PNGs go.

    Returns
    -------
    list of Image
        In the order of the page.
    """
    rows = [row for row in rows if row.measured]
    images = []
    for number, metric in enumerate(metrics[:2], 1):
        images += _bytes(rows, metric, folder / f"bytes-{number}.png")
        images += _training(rows, metric, folder / f"training-{number}.png")
        images += _latency(rows, metric, timer, folder / f"latency-{number}.png")
        images += _parameters(rows, metric, timer, folder / f"effort-{number}.png")
    return images


def _bytes(rows: Sequence[Row], metric: str, path: Path) -> list[Image]:
    """Draw effectiveness against bytes per document, for exhaustive systems."""
    sized = [row for row in rows if row.code_bytes and row.group not in ("non-exhaustive", "device")]
    if not sized:
        return []
    points = [Point(row.title, row.code_bytes or 0, row.metrics[metric], row.family or row.group) for row in sized]
    families = {row.family for row in sized if row.family}
    lines = [Line(row.title, row.metrics[metric]) for row in rows if row.group == "run" and not row.code_bytes]
    save(scatter(points, lines, ("bytes per document", metric), _LARGE, joined=families), path)
    return [Image(path.name, f"{metric} against bytes per document, of the systems that look at every document")]


def _training(rows: Sequence[Row], metric: str, path: Path) -> list[Image]:
    """Draw the metric of each index of the reference's bytes, labelled by how it was trained."""
    alike = [row for row in rows if row.group == "index" and row.code_bytes == rows[0].code_bytes]
    if len(alike) < _FEWEST_TRAININGS:
        return []
    figure = new_figure((_LARGE[0], 1.2 + 0.5 * len(alike)))
    axes = figure.add_subplot()
    values, heights = [row.metrics[metric] for row in alike], range(len(alike), 0, -1)
    axes.plot(values, heights, **look(0), linestyle="none")
    for value, height in zip(values, heights, strict=True):
        axes.annotate(f"{value:.4f}", (value, height), xytext=(9, 0), textcoords="offset points", va="center")
    if flat := flat_row(rows):
        axes.axvline(flat.metrics[metric], color="#444444", linestyle="--", linewidth=1.2, label=flat.title, zorder=1)
        figure.legend(loc="outside lower center", frameon=False)
    axes.set_yticks(heights, [plain(f"{row.title} ({row.family})") for row in alike], parse_math=False)
    axes.set_ylim(0.4, len(alike) + 0.6)
    axes.margins(x=0.2)
    finish(axes, metric, "")
    save(figure, path)
    return [Image(path.name, f"{metric} of the indexes of equal bytes, by how they were trained")]


def _latency(rows: Sequence[Row], metric: str, timer: str, path: Path) -> list[Image]:
    """Draw effectiveness against the median latency of a search."""
    timed = [row for row in rows if row.latency and row.encode]
    if not timed:
        return []
    points = [Point(row.title, row.median(timer) or 0, row.metrics[metric], row.family or row.group) for row in timed]
    save(scatter(points, [], (f"median ms of a query, one thread, {timer} time", metric), _LARGE, True), path)
    return [Image(path.name, f"{metric} against the median latency of a search, without the query encoder")]


def _parameters(rows: Sequence[Row], metric: str, timer: str, path: Path) -> list[Image]:
    """Draw a line along the search parameter for each non-exhaustive system, and points for exhaustive ones."""
    lines = [row for row in rows if len(row.tried) > 1]
    if not lines:
        return []
    figure = new_figure(_LARGE)
    axes = figure.add_subplot()
    for style, row in enumerate(lines):
        times = [tried["latency"][timer]["median_ms"] for tried in row.tried]
        axes.plot(times, [tried["metrics"][metric] for tried in row.tried], **look(style), label=plain(row.title))
    flat = flat_row(rows)
    for row in [*[row for row in rows if row.group == "index"][:1], *([flat] if flat else [])]:
        x, y = row.median(timer) or 0, row.metrics[metric]
        axes.plot([x], [y], marker="*", markersize=15, color="white", markeredgecolor="black", linestyle="none")
        axes.annotate(plain(row.title), (x, y), xytext=(9, 7), textcoords="offset points", parse_math=False)
    axes.set_xscale("log")
    log_ticks(axes, decade_ticks(*axes.get_xlim()))
    finish(axes, f"median ms of a query, one thread, {timer} time (log scale)", metric)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    save(figure, path)
    return [Image(path.name, f"{metric} against latency, as non-exhaustive systems look at more of the collection")]

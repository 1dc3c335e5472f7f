"""The figures of a report."""

from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq.compare.measuring import flat_row
from pyserini_jpq.compare.pages import Image
from pyserini_jpq.compare.rows import Row
from pyserini_jpq.evaluate.figures import COLOURS, MARKERS, Line, Point, decade_ticks, draw_points, new_figure, save

_DPI = 200
_LARGE = (10.0, 7.0)
_FEWEST_TRAININGS = 3
# Without yellow, which a thin line does not carry.
_COLOURS, _MARKERS = COLOURS[:-1], MARKERS[:-1]


def draw_all(rows: Sequence[Row], metrics: Sequence[str], clock: str, folder: Path) -> list[Image]:
    """Draw what the rows have data for.

    Parameters
    ----------
    rows
        Measured and not.
    metrics
        The first two are drawn.
    clock
        Of the latencies.
    folder
        Where the PNGs go.

    Returns
    -------
    list of Image
        In the order in which they are shown.
    """
    measured = [row for row in rows if row.measured]
    images = []
    for number, metric in enumerate(metrics[:2], 1):
        images += _bytes(measured, metric, folder / f"bytes-{number}.png")
        images += _training(measured, metric, folder / f"training-{number}.png")
        images += _latency(measured, metric, clock, folder / f"latency-{number}.png")
        images += _efforts(measured, metric, clock, folder / f"effort-{number}.png")
    return images


def _bytes(rows: Sequence[Row], metric: str, path: Path) -> list[Image]:
    """Draw effectiveness against the bytes of a document, of the systems that look at all documents."""
    sized = [row for row in rows if row.code_bytes and row.group not in ("non-exhaustive", "device")]
    points = [Point(row.title, row.code_bytes or 0, row.metrics[metric], _legend(row)) for row in sized]
    families = dict.fromkeys(row.family for row in sized if row.family)
    joined = [name for name in families if len({point.size for point in points if point.group == name}) > 1]
    lines = [Line(row.title, row.metrics[metric]) for row in rows if row.group == "run" and not row.code_bytes]
    if not points:
        return []
    draw_points(points, lines, ("bytes per document", metric), path, _DPI, _LARGE, joined=joined)
    return [Image(path.name, f"{metric} against bytes per document, of the systems that look at every document")]


def _training(rows: Sequence[Row], metric: str, path: Path) -> list[Image]:
    """Draw the indexes of the reference's bytes, one below the other: how each was trained, and what that brought."""
    alike = [row for row in rows if row.group == "index" and row.code_bytes == rows[0].code_bytes]
    if len(alike) < _FEWEST_TRAININGS:
        return []
    figure = new_figure((_LARGE[0], 1.2 + 0.5 * len(alike)))
    axes = figure.add_subplot()
    values = [row.metrics[metric] for row in alike]
    heights = range(len(alike), 0, -1)
    axes.plot(values, heights, color=_COLOURS[0], marker="o", markersize=9, linestyle="none")
    for value, height in zip(values, heights, strict=True):
        axes.annotate(f"{value:.4f}", (value, height), xytext=(9, 0), textcoords="offset points", va="center")
    if flat := flat_row(list(rows)):
        axes.axvline(flat.metrics[metric], color="#444444", linestyle="--", linewidth=1.2, label=flat.title, zorder=1)
        figure.legend(loc="outside lower center", frameon=False)
    axes.set_yticks(heights, [f"{row.title} ({row.family})" for row in alike], parse_math=False)
    axes.set_ylim(0.4, len(alike) + 0.6)
    axes.margins(x=0.2)
    axes.set_xlabel(metric)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path, _DPI)
    return [Image(path.name, f"{metric} of the indexes of equal bytes, by how they were trained")]


def _latency(rows: Sequence[Row], metric: str, clock: str, path: Path) -> list[Image]:
    """Draw effectiveness against the median latency of a search."""
    timed = [row for row in rows if row.latency and row.encode]
    points = [Point(row.title, row.median(clock) or 0, row.metrics[metric], _legend(row)) for row in timed]
    if not points:
        return []
    labels = (f"median ms of a query, one thread, {clock} time", metric)
    draw_points(points, [], labels, path, _DPI, _LARGE, round_ticks=True)
    return [Image(path.name, f"{metric} against the median latency of a search, without the query encoder")]


def _legend(row: Row) -> str:
    """Return what a row's colour and shape stand for: how an index was trained, or the kind of a baseline."""
    return row.family or row.group


def _efforts(rows: Sequence[Row], metric: str, clock: str, path: Path) -> list[Image]:
    """Draw a line for each non-exhaustive system, along the efforts that were tried, and the exhaustive ones beside."""
    lines = [row for row in rows if len(row.efforts) > 1]
    if not lines:
        return []
    figure = new_figure(_LARGE)
    from matplotlib.ticker import NullLocator

    axes = figure.add_subplot()
    for style, row in enumerate(lines):
        times = [tried["latency"][clock]["median_ms"] for tried in row.efforts]
        values = [tried["metrics"][metric] for tried in row.efforts]
        colour, marker = _COLOURS[style % len(_COLOURS)], _MARKERS[style % len(_MARKERS)]
        axes.plot(times, values, color=colour, marker=marker, markersize=4, linewidth=1.3, label=row.title)
    flat = flat_row(list(rows))
    for row in [row for row in rows if row.group == "index"][:1] + ([flat] if flat else []):
        x, y = row.median(clock) or 0, row.metrics[metric]
        axes.plot([x], [y], marker="*", markersize=15, color="white", markeredgecolor="black", linestyle="none")
        axes.annotate(row.title, (x, y), xytext=(9, 7), textcoords="offset points", fontsize=10, parse_math=False)
    axes.set_xscale("log")
    ticks = decade_ticks(*axes.get_xlim())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel(f"median ms of a query, one thread, {clock} time (log scale)")
    axes.set_ylabel(metric)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    save(figure, path, _DPI)
    return [Image(path.name, f"{metric} against latency, as non-exhaustive systems look at more of the collection")]

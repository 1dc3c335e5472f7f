"""Draws effectiveness against bytes per document, or against another measure of cost."""

import math
import os
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyserini_jpq.errors import InstallationError, JPQError
from pyserini_jpq.evaluate.labels import Box, Place, along_line, around_point, place_labels
from pyserini_jpq.evaluate.runs import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart; the shapes do the same in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ((6, 3), (2, 2), (8, 2, 2, 2), (1, 3))
_INCHES = (6.4, 4.0)
_FONT_POINTS = 10
_MARKER_POINTS = 9
_LEGEND_CHARACTERS = 90
# Smaller differences than this part of the axis are not blown up to its whole height.
_LEAST_SPAN = 0.02
_BYTES = "bytes per document"


class Point(NamedTuple):
    """A system: its cost, its effectiveness, and, where there are groups, the one whose colour and shape it gets."""

    name: str
    size: float
    value: float
    group: str = ""


class Line(NamedTuple):
    """A system without a cost, drawn as a horizontal line."""

    name: str
    value: float


def draw(comparison: Comparison, path: str | os.PathLike[str], metric: str | None = None, dpi: int = 300) -> None:
    """Draw one labelled point a run, and a dashed line for each run whose bytes per document are not known.

    Parameters
    ----------
    comparison
        The runs, of which one at least must have its bytes per document.
    path
        Where to write, whole or not at all; the ending says the format (`.png`, `.pdf`, `.svg`).
    metric
        What is drawn upwards; the first metric by default.
    dpi
        Dots per inch of a PNG.

    Raises
    ------
    JPQError
        If no run has its bytes per document, or the metric was not computed.
    InstallationError
        If matplotlib is not installed.
    """
    metric = comparison.metrics[0] if metric is None else metric
    if metric not in comparison.metrics:
        raise JPQError(f"{metric} was not computed; there are {', '.join(comparison.metrics)}")
    points, lines = _points_and_lines(comparison, metric)
    if not points:
        raise JPQError("no figure without bytes per document; give --bytes NAME=N for one run at least")
    draw_points(points, lines, (_BYTES, metric), path, dpi)


def draw_points(
    points: Sequence[Point],
    lines: Sequence[Line],
    axes_labels: tuple[str, str],
    path: str | os.PathLike[str],
    dpi: int = 300,
    inches: tuple[float, float] = _INCHES,
    round_ticks: bool = False,
    joined: Collection[str] = (),
) -> None:
    """Draw labelled points over a logarithmic axis, and dashed lines.

    Parameters
    ----------
    points
        One at least.
    lines
        Systems whose cost is not known.
    axes_labels
        What is drawn to the right and upwards.
    path
        Where to write, whole or not at all; the ending says the format (`.png`, `.pdf`, `.svg`).
    dpi
        Dots per inch of a PNG.
    inches
        Width and height.
    round_ticks
        Ticks at 1, 2, 5, 10 and so on, instead of at the points' own costs.
    joined
        Groups whose points a line joins, from the least cost to the largest.

    Raises
    ------
    InstallationError
        If matplotlib is not installed.
    """
    save(_figure(points, lines, axes_labels, inches, round_ticks, joined), Path(path), dpi)


def save(figure: "Figure", path: Path, dpi: int = 300) -> None:
    """Write a figure, whole or not at all; the ending of the path says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(beside, format=path.suffix.lower().removeprefix("."), dpi=dpi)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def new_figure(inches: tuple[float, float] = _INCHES) -> "Figure":
    """Return an empty figure that needs no screen.

    Raises
    ------
    InstallationError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InstallationError("figures need matplotlib; pip install matplotlib") from None

    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _points_and_lines(comparison: Comparison, metric: str) -> tuple[list[Point], list[Line]]:
    points, lines = [], []
    for run in comparison.runs:
        if run.bytes_per_document is None:
            lines.append(Line(run.name, run.metrics[metric]))
        else:
            points.append(Point(run.name, run.bytes_per_document, run.metrics[metric]))
    return points, lines


def _figure(
    points: Sequence[Point],
    lines: Sequence[Line],
    axes_labels: tuple[str, str],
    inches: tuple[float, float],
    round_ticks: bool,
    joined: Collection[str] = (),
) -> "Figure":
    figure = new_figure(inches)
    axes = figure.add_subplot()
    _set_axes(axes, points, [*points, *lines], axes_labels, round_ticks)
    for style, line in enumerate(lines):
        dashes = (0, _DASHES[style % len(_DASHES)])
        axes.axhline(line.value, color="#444444", linewidth=1.2, linestyle=dashes, zorder=1)
    figure.draw_without_rendering()
    sizes = _marker_sizes([_to_pixels(axes, point.size, point.value) for point in points])
    groups = list(dict.fromkeys(point.group for point in points if point.group))
    paths = [_joining(points, group) for group in joined]
    for group, path in zip(joined, paths, strict=True):
        axes.plot(*zip(*path, strict=True), color=COLOURS[groups.index(group) % len(COLOURS)], linewidth=1.3, zorder=2)
    for number, (point, size) in enumerate(zip(points, sizes, strict=True)):
        _draw_point(axes, point, size, groups.index(point.group) if groups else number)
    if groups:
        _add_legend(figure, axes, groups)
    elif _cover_each_other(_marker_boxes(figure, axes, points, sizes)):
        _add_legend(figure, axes, [point.name for point in points])
    figure.draw_without_rendering()
    # The axes stay where they are from here on, and labels where they are put.
    figure.set_layout_engine("none")
    _add_labels(figure, axes, points, sizes, lines, paths)
    return figure


def _joining(points: Sequence[Point], group: str) -> list[tuple[float, float]]:
    """Return cost and effectiveness of a group's points, from the least cost to the largest."""
    return sorted((point.size, point.value) for point in points if point.group == group)


def _draw_point(axes: "Axes", point: Point, size: float, style: int) -> None:
    axes.plot(
        [point.size],
        [point.value],
        label=point.group or point.name,
        linestyle="none",
        marker=MARKERS[style % len(MARKERS)],
        markersize=size,
        color=COLOURS[style % len(COLOURS)],
        markeredgecolor="black",
        markeredgewidth=0.7,
        zorder=3,
    )


def _add_legend(figure: "Figure", axes: "Axes", names: Sequence[str]) -> None:
    """Say which marker is whose, below the axes: for markers that cover each other, labels beside them do not."""
    from matplotlib.lines import Line2D

    columns = max(1, min(4, _LEGEND_CHARACTERS // (max(map(len, names)) + 6)))
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    shown = [handles[name] for name in names]
    legend = figure.legend(
        shown, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=_FONT_POINTS - 1
    )
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D):
            handle.set_markersize(_MARKER_POINTS)


def _marker_sizes(centres: Sequence[tuple[float, float]]) -> list[float]:
    """Return the sizes of markers: larger where others lie right upon one, so that it can be seen behind them."""
    return [
        _MARKER_POINTS * (1 + 0.5 * sum(math.dist(centre, later) < 2 for later in centres[index + 1 :]))
        for index, centre in enumerate(centres)
    ]


def _set_axes(
    axes: "Axes",
    points: Sequence[Point],
    runs: Sequence[Point | Line],
    axes_labels: tuple[str, str],
    round_ticks: bool,
) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    sizes = sorted({point.size for point in points})
    values = [run.value for run in runs]
    axes.set_xscale("log")
    # Room for labels: a fifth of the width on each side.
    room = max((sizes[-1] / sizes[0]) ** 0.2, 1.5)
    axes.set_xlim(sizes[0] / room, sizes[-1] * room)
    span = max(max(values) - min(values), _LEAST_SPAN)
    middle = (max(values) + min(values)) / 2
    axes.set_ylim(middle - 0.7 * span, middle + 0.7 * span)
    ticks = decade_ticks(*axes.get_xlim()) if round_ticks else _ticks(sizes)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick:,.10g}" for tick in ticks])
    axes.set_xlabel(f"{axes_labels[0]} (log scale)", fontsize=_FONT_POINTS)
    axes.set_ylabel(axes_labels[1], fontsize=_FONT_POINTS)
    axes.tick_params(labelsize=_FONT_POINTS - 1)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _ticks(sizes: Sequence[float]) -> list[float]:
    """Return the sizes in ascending order, without those whose tick labels would run into the one before."""
    ticks = [sizes[0]]
    span = sizes[-1] / sizes[0]
    for size in sizes[1:]:
        if size / ticks[-1] >= span**0.06:
            ticks.append(size)
    return ticks


def decade_ticks(low: float, high: float) -> list[float]:
    """Return the numbers 1, 2 and 5 times a power of ten within an interval."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _marker_boxes(figure: "Figure", axes: "Axes", points: Sequence[Point], sizes: Sequence[float]) -> list[Box]:
    boxes = []
    for point, size in zip(points, sizes, strict=True):
        x, y = _to_pixels(axes, point.size, point.value)
        # Diamonds and stars reach beyond the nominal size.
        boxes.append(Box(x, y, x, y).grown(0.6 * size * figure.dpi / 72))
    return boxes


def _cover_each_other(boxes: Sequence[Box]) -> bool:
    return any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])


def _add_labels(
    figure: "Figure",
    axes: "Axes",
    points: Sequence[Point],
    sizes: Sequence[float],
    lines: Sequence[Line],
    paths: Sequence[Sequence[tuple[float, float]]],
) -> None:
    """Write the name of every run beside its point or line."""
    pixels = figure.dpi / 72
    gap = 3 * pixels
    corners = axes.get_window_extent()
    frame = Box(corners.x0, corners.y0, corners.x1, corners.y1)
    boxes = _marker_boxes(figure, axes, points, sizes)
    choices = [
        around_point(box, *_text_size(figure, point.name), gap) for point, box in zip(points, boxes, strict=True)
    ]
    line_boxes = []
    for line in lines:
        y = _to_pixels(axes, points[0].size, line.value)[1]
        line_boxes.append(Box(frame.left, y, frame.right, y).grown(pixels / 2))
        choices.append(along_line(y, frame, *_text_size(figure, line.name), gap))
    line_boxes += [box for path in paths for box in _along(axes, path, pixels)]
    chosen = place_labels(choices, boxes, line_boxes, frame, near=1.5 * gap)
    names = [point.name for point in points] + [line.name for line in lines]
    for name, place in zip(names, chosen, strict=True):
        _write(figure, axes, name, place)


def _along(axes: "Axes", path: Sequence[tuple[float, float]], width: float) -> list[Box]:
    """Return small boxes along a line that joins points."""
    corners = [_to_pixels(axes, *point) for point in path]
    boxes = []
    for (x, y), (to_x, to_y) in pairwise(corners):
        pieces = max(1, math.ceil(math.dist((x, y), (to_x, to_y)) / (8 * width)))
        for piece in range(pieces + 1):
            part = piece / pieces
            centre = (x + part * (to_x - x), y + part * (to_y - y))
            boxes.append(Box(*centre, *centre).grown(width))
    return boxes


def _to_pixels(axes: "Axes", x: float, y: float) -> tuple[float, float]:
    across, up = axes.transData.transform((x, y))
    return float(across), float(up)


def _text_size(figure: "Figure", text: str) -> tuple[float, float]:
    """Return width and height of a label, in pixels."""
    trial = figure.text(0, 0, text, fontsize=_FONT_POINTS, parse_math=False)
    extent = trial.get_window_extent()
    trial.remove()
    return float(extent.width), float(extent.height)


def _write(figure: "Figure", axes: "Axes", text: str, place: Place) -> None:
    """Write a label at its place, with a leader to its point if it is not beside it."""
    corner = (place.box.left, place.box.bottom)
    anchor = place.leader or corner
    points = 72 / figure.dpi
    leader = {"arrowstyle": "-", "color": "#666666", "linewidth": 0.7, "shrinkA": 1, "shrinkB": _MARKER_POINTS / 2}
    axes.annotate(
        text,
        tuple(axes.transData.inverted().transform(anchor)),
        xytext=((corner[0] - anchor[0]) * points, (corner[1] - anchor[1]) * points),
        textcoords="offset points",
        horizontalalignment="left",
        verticalalignment="bottom",
        fontsize=_FONT_POINTS,
        arrowprops=leader if place.leader else None,
        annotation_clip=False,
        parse_math=False,
        zorder=4,
    )

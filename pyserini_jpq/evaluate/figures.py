"""Draws effectiveness against bytes per document, or against another measure of cost."""

import math
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pyserini_jpq.errors import InstallationError, JPQError, how_to_install
from pyserini_jpq.evaluate.runs import Comparison
from pyserini_jpq.evaluate.table import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart; the shapes do the same in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ((6, 3), (2, 2), (8, 2, 2, 2), (1, 3))
_INCHES = (6.4, 4.0)
# The vertical axis spans at least this much, so that small differences look small.
_LEAST_SPAN = 0.02
_LABEL_ROUNDS = 500


class Point(NamedTuple):
    """A system: its cost, its effectiveness, and the group that decides on colour and shape, if there is one."""

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
        The runs; at least one needs its bytes per document.
    path
        The file, written whole or not at all; its ending decides on the format (`.png`, `.pdf`, `.svg`).
    metric
        The metric on the vertical axis; the first by default.
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
    sized = [(run, run.bytes_per_document) for run in comparison.runs]
    points = [Point(run.name, size, run.metrics[metric]) for run, size in sized if size is not None]
    lines = [Line(run.name, run.metrics[metric]) for run, size in sized if size is None]
    if not points:
        raise JPQError("no figure without bytes per document; give --bytes NAME=N for one run at least")
    save(scatter(points, lines, ("bytes per document", metric)), Path(path), dpi)


def scatter(
    points: Sequence[Point],
    lines: Sequence[Line],
    axes_labels: tuple[str, str],
    inches: tuple[float, float] = _INCHES,
    round_ticks: bool = False,
    joined: Collection[str] = (),
) -> "Figure":
    """Return a figure of labelled points over a logarithmic axis, and of dashed lines.

    Parameters
    ----------
    points
        At least one.
    lines
        Systems whose cost is not known.
    axes_labels
        Labels of the horizontal and the vertical axis.
    inches
        Width and height.
    round_ticks
        Ticks at 1, 2, 5, 10 and so on, instead of at the points' own costs.
    joined
        Groups whose points are joined by a line, in the order of their costs.

    Raises
    ------
    InstallationError
        If matplotlib is not installed.
    """
    figure = new_figure(inches)
    axes = figure.add_subplot()
    _set_limits(axes, points, [*(point.value for point in points), *(line.value for line in lines)])
    groups: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.size):
        groups.setdefault(plain(point.group or point.name), []).append(point)
    for style, group in enumerate(dict.fromkeys(plain(point.group or point.name) for point in points)):
        x, y = [point.size for point in groups[group]], [point.value for point in groups[group]]
        axes.plot(x, y, **look(style), label=group, linestyle="-" if group in joined else "none", zorder=3)
    for style, line in enumerate(lines):
        axes.axhline(line.value, color="#444444", linewidth=1.2, dashes=_DASHES[style % len(_DASHES)], zorder=1)
    sizes = sorted({point.size for point in points})
    log_ticks(axes, decade_ticks(*axes.get_xlim()) if round_ticks else _apart(sizes))
    finish(axes, f"{axes_labels[0]} (log scale)", axes_labels[1])
    if any(point.group for point in points):
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    _add_labels(figure, axes, points, lines)
    return figure


def save(figure: "Figure", path: Path, dpi: int = 200) -> None:
    """Write a figure, whole or not at all; the ending of the path decides on the format."""
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
        If matplotlib or adjustText is not installed.
    """
    try:
        import adjustText  # noqa: F401  places labels
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InstallationError(f"figures need matplotlib and adjustText; run {how_to_install('demo')}") from None

    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def look(style: int) -> dict[str, Any]:
    """Return the colour and shape of the markers of the group with this number."""
    colour, marker = COLOURS[style % len(COLOURS)], MARKERS[style % len(MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 8, "markeredgecolor": "black", "markeredgewidth": 0.6}


def finish(axes: "Axes", x_label: str, y_label: str) -> None:
    """Label the axes, and draw a grid and no frame."""
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def log_ticks(axes: "Axes", ticks: Sequence[float]) -> None:
    """Put ticks on the logarithmic axis, as plain numbers."""
    axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])


def decade_ticks(low: float, high: float) -> list[float]:
    """Return the numbers 1, 2 and 5 times a power of ten within an interval."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _apart(sizes: Sequence[float]) -> list[float]:
    """Return rising sizes without those whose tick labels would overlap the one before."""
    ticks = [sizes[0]]
    for size in sizes[1:]:
        if size / ticks[-1] >= (sizes[-1] / sizes[0]) ** 0.06:
            ticks.append(size)
    return ticks


def _set_limits(axes: "Axes", points: Sequence[Point], values: Sequence[float]) -> None:
    """Leave room for labels: a fifth of the width on each side."""
    low, high = min(point.size for point in points), max(point.size for point in points)
    room = max((high / low) ** 0.2, 1.5)
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    span, middle = max(max(values) - min(values), _LEAST_SPAN), (max(values) + min(values)) / 2
    axes.set_ylim(middle - 0.7 * span, middle + 0.7 * span)


def _add_labels(figure: "Figure", axes: "Axes", points: Sequence[Point], lines: Sequence[Line]) -> None:
    """Write the name of each system beside its point or line, without overlaps."""
    from adjustText import adjust_text

    right = axes.get_xlim()[1]
    places = [(1.02 * point.size, point.value) for point in points] + [(right, line.value) for line in lines]
    names = [*(plain(point.name) for point in points), *(plain(line.name) for line in lines)]
    texts = [axes.text(*place, name, fontsize=9, parse_math=False) for place, name in zip(places, names, strict=True)]
    for text in texts[len(points) :]:
        text.set(horizontalalignment="right", verticalalignment="bottom")
    # From here on the layout is fixed, so that labels stay where they are put.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    x, y = zip(*places, strict=True)
    leader = {"arrowstyle": "-", "color": "#666666", "linewidth": 0.7}
    adjust_text(texts, x=x, y=y, ax=axes, expand=(1.15, 1.4), iter_lim=_LABEL_ROUNDS, arrowprops=leader)

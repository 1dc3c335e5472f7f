"""The figure of a comparison: what is found against time and against bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Figures
from pyserini_jpq.evaluate.figures import decade_ticks, finish, log_ticks, look, new_figure, save

_COLUMNS = 3
_INCHES = (3.2, 2.5)
_TIME, _BYTES = "ms per query and million documents", "bytes per document"


def draw(rows: list[Figures], path: Path) -> None:
    """Draw a panel for each kind of request, with time to the right, and one with the bytes of a document.

    What is drawn upwards is nDCG@10 where topics are judged, else the share of the exact best documents. Engines that
    were measured with several numbers of lists are a curve.

    Parameters
    ----------
    rows
        What was measured.
    path
        The PNG to write.
    """
    judged = any(row.ndcg is not None for row in rows)
    rows = [row for row in rows if not judged or row.ndcg is not None]
    kinds = sorted({(row.threads, row.queries, row.k) for row in rows})
    families = list(dict.fromkeys(_family(row) for row in rows))
    lines = -(-(len(kinds) + 1) // _COLUMNS)
    figure = new_figure((_COLUMNS * _INCHES[0], lines * _INCHES[1] + 0.6))
    panels = figure.subplots(lines, _COLUMNS, sharey=True, squeeze=False).ravel()
    for (threads, queries, k), panel in zip(kinds, panels, strict=False):
        chosen = [row for row in rows if (row.threads, row.queries, row.k) == (threads, queries, k)]
        _panel(panel, chosen, [row.milliseconds for row in chosen], families)
        panel.set_title(f"{queries} at once, k={k}, {threads} thread{'s' * (threads > 1)}", fontsize=9)
        panel.set_xlabel(_TIME, fontsize=8)
    last = panels[len(kinds)]
    _panel(last, chosen, [row.bytes_per_document for row in chosen], families)
    last.set_title(f"size, k={kinds[-1][2]}", fontsize=9)
    last.set_xlabel(_BYTES, fontsize=8)
    for panel in panels[len(kinds) + 1 :]:
        panel.remove()
    for panel in panels[::_COLUMNS]:
        panel.set_ylabel("nDCG@10" if judged else "recall of the exact best k", fontsize=8)
    figure.legend(*last.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    save(figure, path, dpi=200)


def _panel(panel: Any, rows: Sequence[Figures], places: Sequence[float], families: Sequence[str]) -> None:
    """Draw rows at their places, those of one family in one colour and shape, and joined."""
    for style, family in enumerate(families):
        members = [(place, row) for place, row in zip(places, rows, strict=True) if _family(row) == family]
        points = sorted((place, row.recall if row.ndcg is None else row.ndcg) for place, row in members)
        x, y = [place for place, _ in points], [value for _, value in points]
        panel.plot(x, y, **{**look(style), "markersize": 6}, linewidth=1, label=family)
    panel.set_xscale("log")
    log_ticks(panel, decade_ticks(*panel.get_xlim()))
    panel.tick_params(labelsize=8)
    finish(panel, "", "")


def _family(row: Figures) -> str:
    """Return `IVF 256` of `IVF 256/16`."""
    return row.engine.partition("/")[0]

"""The figure of a comparison: what is found against time and against bytes."""

from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

_COLOURS = 10


def draw(rows: list[Row], path: Path) -> None:
    """Draw a panel for each kind of request: milliseconds per query and million documents, and what is found.

    What is found is nDCG@10 where topics are judged, else the share of the exact best documents. Engines that were
    measured with several numbers of lists are a curve. The last panel has the bytes of a document in place of time.

    Parameters
    ----------
    rows
        What was measured.
    path
        The PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    judged = any(row.ndcg is not None for row in rows)
    rows = [row for row in rows if not judged or row.ndcg is not None]
    kinds = sorted({(row.threads, row.queries, row.k) for row in rows})
    figure, panels = pyplot.subplots(
        1, len(kinds) + 1, figsize=(3.2 * len(kinds) + 3.2, 3), sharey=True, squeeze=False, layout="constrained"
    )
    for (threads, queries, k), panel in zip(kinds, panels[0], strict=False):
        chosen = [row for row in rows if (row.threads, row.queries, row.k) == (threads, queries, k)]
        _points(panel, chosen, [row.milliseconds for row in chosen])
        panel.set_title(f"{queries} at once, k={k}, threads={threads}", fontsize=8)
        panel.set_xlabel("ms per query and million documents")
    threads, queries, k = kinds[-1]
    _points(panels[0][-1], chosen, [row.bytes_per_document for row in chosen])
    panels[0][-1].set_title(f"{queries} at once, k={k}, threads={threads}", fontsize=8)
    panels[0][-1].set_xlabel("bytes of a document")
    panels[0][0].set_ylabel("nDCG@10" if judged else "recall of the exact best k")
    panels[0][-1].legend(fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _points(panel: Any, rows: list[Row], places: list[float]) -> None:
    """Draw rows at their places, those of one family in one colour and joined."""
    families = sorted({_family(row) for row in rows})
    for family, members in groupby(sorted(zip(rows, places, strict=True), key=_by_family), lambda m: _family(m[0])):
        points = sorted((place, row.recall if row.ndcg is None else row.ndcg) for row, place in members)
        panel.plot(
            *zip(*points, strict=True), "o-", ms=4, lw=1, color=f"C{families.index(family) % _COLOURS}", label=family
        )
    panel.set_xscale("log")
    panel.grid(alpha=0.3)


def _by_family(member: tuple[Row, float]) -> str:
    return _family(member[0])


def _family(row: Row) -> str:
    """Return `IVF 256` of `IVF 256/16`."""
    return row.engine.partition("/")[0]

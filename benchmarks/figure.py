"""The figure of a comparison: recall of the exact best documents against time."""

from pathlib import Path

from benchmarks.measure import Row


def draw(rows: list[Row], path: Path) -> None:
    """Draw one panel for each kind of request: milliseconds per query and million documents (logarithmic), recall.

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

    kinds = sorted({(row.threads, row.queries, row.k) for row in rows})
    figure, panels = pyplot.subplots(
        1, len(kinds), figsize=(3.2 * len(kinds), 3), sharey=True, squeeze=False, layout="constrained"
    )
    for (threads, queries, k), panel in zip(kinds, panels[0], strict=True):
        for row in rows:
            if (row.threads, row.queries, row.k) == (threads, queries, k):
                panel.scatter(row.milliseconds, row.recall, s=24, label=row.engine)
        panel.set_xscale("log")
        panel.set_title(f"{queries} queries at once, k={k}, threads={threads}", fontsize=8)
        panel.set_xlabel("ms per query and million documents")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("recall of the exact best k")
    panels[0][-1].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)

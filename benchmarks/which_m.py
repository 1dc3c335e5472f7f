"""Draw docs/which-m.svg from the figures in docs/experiments/: effectiveness against the bytes of a document.

`python -m benchmarks.which_m` measures nothing; the tables say which command printed them.
"""

import argparse
import re
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parents[1] / "docs" / "experiments"
Curves = dict[str, dict[int, float]]


def nfcorpus() -> tuple[Curves, float]:
    """Return nDCG@10 of OPQ and JPQ (the defaults) by bytes, and that of the uncompressed vectors."""
    rows = table(EXPERIMENTS / "training.md", "| M | row | nDCG@10 | R@100 |")
    curves: Curves = {"OPQ": {}, "JPQ": {}}
    for m, row, ndcg, _ in rows:
        if name := {"OPQ": "OPQ", "+ biases: the defaults": "JPQ"}.get(row):
            curves[name][int(m)] = number(ndcg)
    return curves, next(number(ndcg) for _, row, ndcg, _ in rows if row == "flat")


def msmarco() -> tuple[Curves, float]:
    """Return RR@10 of the dev queries of the MS MARCO subset: OPQ, JPQ as in the paper, JPQ by the defaults."""
    rows = table(EXPERIMENTS / "msmarco-passage.md", "| condition | bytes/doc | dev RR@10 | dev R@100 | dl19 nDCG@10 |")
    names = {"OPQ": "OPQ", "JPQ": "JPQ, the paper's", "JPQ with biases and averaging": "JPQ"}
    curves: Curves = {name: {} for name in names.values()}
    for condition, size, rr, *_ in rows:
        if (found := re.fullmatch(r"(.+), M=\d+", condition)) and found[1] in names:
            curves[names[found[1]]][int(size)] = number(rr)
    return curves, next(number(row[2]) for row in rows if row[0] == "all-MiniLM-L6-v2, uncompressed")


def table(page: Path, head: str) -> list[list[str]]:
    """Return the cells of the last table of a page whose first line begins so."""
    lines = page.read_text(encoding="utf-8").splitlines()
    first = max(number for number, line in enumerate(lines) if line.startswith(head) and "R(rel=2)@1000" not in line)
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def number(cell: str) -> float:
    """Return the figure of a cell, without its deviation and what was expected."""
    return float(cell.split()[0])


def draw(path: Path) -> None:
    """Draw both collections beside each other."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "which-m"  # the same file each time
    matplotlib.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasSVG(figure)
    panels: Any = figure.subplots(1, 2)
    for panel, (title, (curves, flat)) in zip(
        panels, (("NFCorpus, nDCG@10", nfcorpus()), ("MS MARCO subset, dev RR@10", msmarco())), strict=True
    ):
        for name, points in curves.items():
            style = {"OPQ": "C0s--", "JPQ": "C1o-"}.get(name, "C2^:")
            panel.plot(list(points), list(points.values()), style, label=name)
        panel.axhline(flat, color="gray", linewidth=1, label="uncompressed (1,536 bytes)")
        panel.set_xscale("log", base=2)
        panel.set_xticks(sorted({size for points in curves.values() for size in points}))
        panel.get_xaxis().set_major_formatter(lambda size, _: f"{size:.0f}")
        panel.minorticks_off()
        panel.set_title(title)
        panel.set_xlabel("bytes a document (M)")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.which_m", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/which-m.svg"), help="figure to write (%(default)s)")
    draw(parser.parse_args().output)


if __name__ == "__main__":
    main()

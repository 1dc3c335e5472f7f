"""`python -m benchmarks.ablation`: the paper's ablation (figure 7) and other losses, over several seeds.

Each row is what a user would run: `pyserini_jpq.index`, `train` and `search`, with defaults but for the flags of the
row. Existing outputs are kept, so that an interrupted benchmark goes on.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import shared
from benchmarks.commands import run, searched
from pyserini_jpq import cli
from pyserini_jpq.evaluate.runs import evaluate
from pyserini_jpq.evaluate.table import Table, as_markdown
from pyserini_jpq.files import write_json_atomically

ROWS = {
    "live negatives": "--loss-scores original --train-centroids no --trained-share 1",
    "ranking-oriented loss": "--train-centroids no --trained-share 1",
    "trained centroids": "--train-biases no --listwise-weight 0 --trained-share 1",
    "biases": "--listwise-weight 0 --trained-share 1",
    "listwise beside": "--trained-share 1",
    "averaging": "",
    "listwise": "--loss listwise",
    "distill": "--loss distill",
}
"""Flags of each row: figure 7 from the second row on, then biases, the listwise loss beside the paper's, and averaging
(the defaults), then other losses."""


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("ablation", "Train and measure the rows of the ablation, over several seeds.")
    parser.add_argument("--embeddings", type=Path, required=True, help="folder that encode wrote")
    parser.add_argument("--topics", required=True, help="of the training queries")
    parser.add_argument("--qrels", required=True, help="of the training queries")
    parser.add_argument("--test-topics", required=True, help="to measure with")
    parser.add_argument("--test-qrels", required=True, help="to measure with")
    parser.add_argument("--dev-topics", help="to choose the best model with; by default the last is taken")
    parser.add_argument("--dev-qrels", help="to choose the best model with")
    parser.add_argument("--m", type=cli.positive_int, nargs="+", default=[24], help="bytes of a document")
    parser.add_argument("--seeds", type=cli.seed, nargs="+", default=[42, 43, 44], help="of training")
    parser.add_argument("--rows", choices=tuple(ROWS), nargs="+", default=list(ROWS), help="what to train")
    parser.add_argument("--metrics", nargs="+", default=["nDCG@10", "R@100"], help="as in evaluate")
    parser.add_argument("--threads", type=cli.positive_int, default=1, help="of training and search")
    parser.add_argument("--work", type=Path, required=True, help="folder for indexes, encoders and runs")
    parser.add_argument("--json", type=Path, help="file for the figures of every run")
    return parser


def main(argv: Sequence[str]) -> None:
    """Make all runs, then print their table in Markdown."""
    args = define_flags().parse_args(argv)
    args.work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    flat = {"-": _measure(args, args.embeddings, args.work / "flat.txt")}
    figures["flat"] = {"flat": flat}
    lines = [_line("", "flat", flat)]
    for m in args.m:
        start = args.work / f"opq-m{m}"
        if not start.exists():
            run("index", f"--embeddings {args.embeddings} --m {m} --output {start} --threads {args.threads}")
        opq = {"-": _measure(args, start, args.work / f"opq-m{m}.txt")}
        figures[str(m)] = {"OPQ": opq}
        lines.append(_line(str(m), "OPQ", opq))
        for row in args.rows:
            seeds = {str(seed): _trained(args, start, m, row, seed) for seed in args.seeds}
            figures[str(m)][row] = seeds
            lines.append(_line(str(m), row, seeds))
    print(as_markdown(Table(["M", "row", *args.metrics], lines, frozenset({1}))))
    if args.json:
        write_json_atomically(args.json, figures)


def _trained(args: argparse.Namespace, start: Path, m: int, row: str, seed: int) -> dict[str, float]:
    """Train one row with one seed, unless that was done, and measure it."""
    name = f"m{m}.{row.replace(' ', '-')}.{seed}"
    index = args.work / name
    if not index.exists():
        dev = f"--dev-topics {args.dev_topics} --dev-qrels {args.dev_qrels}" if args.dev_topics else ""
        run(
            "train",
            f"--index {start} --topics {args.topics} --qrels {args.qrels} {dev} --seed {seed} "
            f"--threads {args.threads} --output {index} --output-encoder {args.work / name}.encoder {ROWS[row]}",
        )
    return _measure(args, index, args.work / f"{name}.txt")


def _measure(args: argparse.Namespace, index: Path, file: Path) -> dict[str, float]:
    """Search the test queries, unless that was done, and evaluate the run."""
    searched(index, args.test_topics, file, args.threads)
    return evaluate({"run": str(file)}, args.test_qrels, args.metrics).runs[0].metrics


def _line(m: str, row: str, seeds: dict[str, dict[str, float]]) -> list[str]:
    """Return a row of the table: means over the seeds, with the standard deviation where there are several."""
    cells = [m, row]
    for metric in next(iter(seeds.values())):
        values = [figures[metric] for figures in seeds.values()]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    cli.say(", ".join(cells))
    return cells


if __name__ == "__main__":
    sys.exit(cli.run(main))

"""`python -m benchmarks.search`: engines on the same random codes and queries, their times side by side."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.engines import make_engines, random_quantizer
from benchmarks.measure import CLOCKS, Row, compare
from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import write_json_atomically


def define_flags() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = cli.parser("search", "Compare search engines on the same codes and queries, in one process.")
    parser.prog = "python -m benchmarks.search"
    parser.add_argument("--documents", type=cli.positive_int, default=1_000_000, help="documents of random codes")
    parser.add_argument("--dimension", type=cli.positive_int, default=768, help="dimensions of a vector")
    parser.add_argument("--m", type=cli.positive_int, default=96, help="bytes a document")
    parser.add_argument("--queries", type=cli.positive_int, nargs="+", default=[1, 32], help="queries of a batch")
    parser.add_argument("--threads", type=cli.positive_int, nargs="+", default=[1], help="threads of each engine")
    parser.add_argument("--hits", type=cli.positive_int, nargs="+", default=[10, 100, 1000], help="hits of a query")
    parser.add_argument("--rounds", type=cli.positive_int, default=5, help="times that each engine runs")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu: without other processes' share")
    parser.add_argument("--engines", nargs="+", help="only these, and what they are compared with")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    if args.dimension % args.m:
        raise JPQError(f"--m {args.m} does not divide --dimension {args.dimension}")
    if args.clock == "cpu" and args.threads != [1]:
        raise JPQError("--clock cpu sees one thread only; leave --threads at 1")
    rows = measure(args)
    if args.json:
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
        write_json_atomically(args.json, {"settings": settings, "rows": [row.as_dict() for row in rows]})
    if args.figure:
        from benchmarks.figure import draw

        draw(rows, args.figure)


def measure(args: argparse.Namespace) -> list[Row]:
    """Measure all combinations, and print each row as it comes."""
    rng = np.random.default_rng(0)
    quantizer = random_quantizer(args.dimension, args.m, 8, rng)
    codes = rng.integers(0, 256, (args.documents, args.m), dtype=np.uint8)
    engines = make_engines(quantizer, codes, rng, args.engines or ())
    print(
        f"{'engine':20} {'queries':>7} {'k':>5} {'threads':>7} {'ms/query/M':>10} {'speed-up':>8} {'floors':>6} recall",
        flush=True,
    )
    rows = []
    for threads in args.threads:
        for size in args.queries:
            queries = rng.normal(size=(size, args.dimension)).astype(np.float32)
            for k in args.hits:
                part = compare(engines, codes, queries, k, threads, args.rounds, args.clock)
                for row in part:
                    print(
                        f"{row.engine:20} {row.queries:7} {row.k:5} {row.threads:7} {row.milliseconds:10.2f} "
                        f"{row.speedup:8.2f} {row.floors:6.2f} {row.recall:6.4f}",
                        flush=True,
                    )
                rows += part
    return rows


if __name__ == "__main__":
    sys.exit(cli.run(main))

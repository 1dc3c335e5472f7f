"""`python -m benchmarks.ratios`: the times of table 2 of the paper, of flat vectors, OPQ and JPQ, as ratios.

OPQ is faiss's `IndexPQ`, which its users have; JPQ the same codes and centroids, searched as `JPQFaissSearcher` does.
"""

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.data import random_data
from benchmarks.engines import OURS, make_engines
from benchmarks.measure import compare
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import TIMERS

FLAT, OPQ = "flat", "IndexPQ"


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = cli.parser("ratios", "Compare flat vectors, OPQ and JPQ: one query at a time, one thread.")
    parser.prog = "python -m benchmarks.ratios"
    parser.add_argument("--documents", type=cli.positive_int, default=1_000_000, help="documents of random codes")
    parser.add_argument("--dimension", type=cli.positive_int, default=768, help="dimensions of a vector")
    parser.add_argument("--m", type=cli.positive_int, nargs="+", default=[96, 24], help="bytes a document")
    parser.add_argument("--hits", type=cli.positive_int, nargs="+", default=[10, 100, 1000], help="hits of a query")
    parser.add_argument("--rounds", type=cli.positive_int, default=15, help="times that each is searched")
    parser.add_argument("--clock", choices=sorted(TIMERS), default="wall", help="cpu: without other processes' share")
    args = parser.parse_args(argv)
    print(f"{'M':>3} {'k':>5} {'flat ms':>9} {'OPQ ms':>9} {'JPQ ms':>9}  flat : OPQ : JPQ", flush=True)
    rng = np.random.default_rng(0)
    for m in args.m:
        data = random_data(args.documents, args.dimension, m, rng)
        engines = {engine.name: engine for engine in make_engines(data, rng, (FLAT, OURS))}
        for k in args.hits:
            rows = compare([engines[name] for name in (OPQ, FLAT, OURS)], data, 1, k, 1, args.rounds, args.clock)
            took = {row.engine: row.milliseconds * args.documents / 1e6 for row in rows}
            flat, opq, jpq = (took[name] for name in (FLAT, OPQ, OURS))
            print(f"{m:3} {k:5} {flat:9.2f} {opq:9.2f} {jpq:9.2f}  {flat / jpq:.1f} : {opq / jpq:.1f} : 1", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))

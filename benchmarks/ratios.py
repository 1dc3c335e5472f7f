"""`python -m benchmarks.ratios`: the times of table 2 of the paper, of flat vectors, OPQ and JPQ, as ratios.

OPQ is faiss's `IndexPQ`, which its users have; JPQ the same codes and centroids, searched as `JPQFaissSearcher` does.
"""

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks import shared
from benchmarks.data import random_data
from benchmarks.engines import OURS, make_engines
from benchmarks.measure import compare
from pyserini_jpq import cli

FLAT, OPQ = "flat", "IndexPQ"


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = shared.parser("ratios", "Compare flat vectors, OPQ and JPQ: one query at a time, one thread.")
    parser.add_argument("--documents", type=cli.positive_int, default=1_000_000, help="documents of random codes")
    parser.add_argument("--dimension", type=cli.positive_int, default=768, help="dimensions of a vector")
    parser.add_argument("--m", type=cli.positive_int, nargs="+", default=[96, 24], help="bytes a document")
    parser.add_argument("--hits", type=cli.positive_int, nargs="+", default=[10, 100, 1000], help="hits of a query")
    parser.add_argument("--rounds", type=cli.positive_int, default=15, help="times that each is searched")
    shared.add_clock(parser)
    args = parser.parse_args(argv)
    table = shared.Printed("M", "k", "flat ms", "OPQ ms", "JPQ ms", "flat : OPQ : JPQ")
    rng = np.random.default_rng(0)
    for m in args.m:
        data = random_data(args.documents, args.dimension, m, rng)
        engines = {engine.name: engine for engine in make_engines(data, rng, (FLAT, OURS))}
        for k in args.hits:
            rows = compare([engines[name] for name in (OPQ, FLAT, OURS)], data, 1, k, 1, args.rounds, args.clock)
            took = {row.engine: row.milliseconds * args.documents / 1e6 for row in rows}
            times = [f"{took[name]:.2f}" for name in (FLAT, OPQ, OURS)]
            table.add(m, k, *times, f"{took[FLAT] / took[OURS]:.1f} : {took[OPQ] / took[OURS]:.1f} : 1")


if __name__ == "__main__":
    sys.exit(cli.run(main))

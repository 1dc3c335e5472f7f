"""`python -m benchmarks.search`: engines on the same codes and queries, their times side by side."""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import shared
from benchmarks.data import clustered_data, index_data, random_data
from benchmarks.engines import IVF, make_engines
from benchmarks.measure import Figures, compare
from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import write_json_atomically

SHARES = (64, 32, 16, 8, 4)
"""Without --nprobe, lists / share of the lists are searched, for each of these shares."""


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("search", "Compare search engines on the same codes and queries, in one process.")
    group = parser.add_argument_group("random codes and queries")
    group.add_argument("--documents", type=cli.positive_int, default=1_000_000, help="documents of random codes")
    group.add_argument("--dimension", type=cli.positive_int, default=768, help="dimensions of a vector")
    group.add_argument("--m", type=cli.positive_int, default=96, help="bytes a document")
    group.add_argument(
        "--clusters", type=cli.positive_int, help="centres that vectors lie around; default: random codes"
    )
    group = parser.add_argument_group("or those of an index")
    group.add_argument("--index", help="index folder or name, of 8 bits")
    group.add_argument("--topics", help="its topics, encoded by its encoder")
    group.add_argument("--qrels", help="their judgements, for nDCG@10")
    group.add_argument("--collection", type=Path, help="its documents, for BM25 and Lucene's vectors")
    group = parser.add_argument_group("engines")
    group.add_argument("--engines", nargs="+", help="only these, and what they are compared with")
    group.add_argument("--lists", type=cli.positive_int, help="inverted lists")
    group.add_argument("--nprobe", type=cli.positive_int, nargs="+", help="lists of a query: a row for each")
    group = parser.add_argument_group("requests")
    group.add_argument("--queries", type=cli.positive_int, nargs="+", default=[1, 32], help="queries of a batch")
    group.add_argument("--threads", type=cli.positive_int, nargs="+", default=[1], help="threads of each engine")
    group.add_argument("--hits", type=cli.positive_int, nargs="+", default=[10, 100, 1000], help="hits of a query")
    group.add_argument("--rounds", type=cli.positive_int, default=5, help="times that each engine runs")
    shared.add_clock(group)
    group = parser.add_argument_group("results")
    group.add_argument("--json", type=Path, help="file to write the figures to")
    group.add_argument("--figure", type=Path, help="PNG to draw")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    _check(args)
    rows = measure(args)
    if args.json:
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
        write_json_atomically(args.json, {"settings": settings, "rows": list(map(asdict, rows))})
    if args.figure:
        from benchmarks.figure import draw

        draw(rows, args.figure)


def _check(args: argparse.Namespace) -> None:
    if args.clock == "cpu" and args.threads != [1]:
        raise JPQError("--clock cpu sees one thread only; leave --threads at 1")
    if bool(args.index) != bool(args.topics):
        raise JPQError("--index and --topics go together")
    if not args.index and (args.qrels or args.collection):
        raise JPQError("--qrels and --collection need --index and --topics")
    if not args.lists and (args.nprobe or IVF in (args.engines or ())):
        raise JPQError("--nprobe and the engine IVF need --lists")


def measure(args: argparse.Namespace) -> list[Figures]:
    """Measure all combinations, and print each row as it comes."""
    import faiss

    rng = np.random.default_rng(0)
    sizes = args.documents, args.dimension, args.m
    if args.index:
        data = index_data(args.index, args.topics, args.qrels)
    else:
        data = clustered_data(*sizes, args.clusters, rng) if args.clusters else random_data(*sizes, rng)
    nprobes = args.nprobe or sorted({max(1, (args.lists or 1) // share) for share in SHARES})
    faiss.omp_set_num_threads(max(args.threads))  # to build them
    engines = make_engines(data, rng, args.engines or (), args.lists, nprobes, args.collection)
    header = ("engine", "queries", "k", "threads", "ms/query/M", "speed-up", "floors", "recall")
    table = shared.Printed(*header, *(["nDCG@10"] if data.qrels else []), first=20)
    rows = []
    for threads, size, k in itertools.product(args.threads, args.queries, args.hits):
        part = compare(engines, data, size, k, threads, args.rounds, args.clock)
        for row in part:
            figures = [f"{value:.2f}" for value in (row.milliseconds, row.speedup, row.floors)]
            judged = ["" if row.ndcg is None else f"{row.ndcg:.4f}"] if data.qrels else []
            table.add(row.engine, size, k, threads, *figures, f"{row.recall:.4f}", *judged)
        rows += part
    return rows


if __name__ == "__main__":
    sys.exit(cli.run(main))

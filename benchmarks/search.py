"""`python -m benchmarks.search`: engines on the same codes and queries, their times side by side."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.data import clustered_data, index_data, random_data
from benchmarks.engines import IVF, make_engines
from benchmarks.measure import Row, compare
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import TIMERS
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import write_json_atomically

SHARES = (64, 32, 16, 8, 4)
"""Of the lists, one in so many is searched, if nobody says how many."""


def define_flags() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = cli.parser("search", "Compare search engines on the same codes and queries, in one process.")
    parser.prog = "python -m benchmarks.search"
    group = parser.add_argument_group("random codes and queries")
    group.add_argument("--documents", type=cli.positive_int, default=1_000_000, help="documents of random codes")
    group.add_argument("--dimension", type=cli.positive_int, default=768, help="dimensions of a vector")
    group.add_argument("--m", type=cli.positive_int, default=96, help="bytes a document")
    group.add_argument("--clusters", type=cli.positive_int, help="codes of vectors around so many centres instead")
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
    group.add_argument("--clock", choices=sorted(TIMERS), default="wall", help="cpu: without other processes' share")
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
        write_json_atomically(args.json, {"settings": settings, "rows": [row.as_dict() for row in rows]})
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


def measure(args: argparse.Namespace) -> list[Row]:
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
    print(
        f"{'engine':20} {'queries':>7} {'k':>5} {'threads':>7} {'ms/query/M':>10} {'speed-up':>8} {'floors':>6} recall"
        f"{' nDCG@10' if data.qrels else ''}",
        flush=True,
    )
    rows = []
    for threads in args.threads:
        for size in args.queries:
            for k in args.hits:
                part = compare(engines, data, size, k, threads, args.rounds, args.clock)
                for row in part:
                    print(_line(row), flush=True)
                rows += part
    return rows


def _line(row: Row) -> str:
    return (
        f"{row.engine:20} {row.queries:7} {row.k:5} {row.threads:7} {row.milliseconds:10.2f} "
        f"{row.speedup:8.2f} {row.floors:6.2f} {row.recall:6.4f}{'' if row.ndcg is None else f' {row.ndcg:7.4f}'}"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))

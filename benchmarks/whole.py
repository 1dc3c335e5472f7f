"""`python -m benchmarks.whole`: where the time of the command `search` goes, each part beside its floor.

The command searches an index of random codes, around a real query encoder, for topics or for queries of random words.
Floors are measured in the same run:

- encoder, tables: their additions and multiplications, at the rate of a large product of matrices,
- scan: reading all codes, once for a query; below 1 where a batch shares a read,
- docids: cutting a block of text in memory into the same strings,
- order: sorting the scores,
- writing: writing the bytes of the run at once.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared
from benchmarks.data import random_data
from benchmarks.measure import read_once
from benchmarks.searchers import make_folder
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import timed
from pyserini_jpq.search.options import SearchOptions

WORDS = 6
"""Words of a random query."""

COMMON = ("what", "is", "the", "average", "cost", "of", "how", "long", "does", "it", "take", "to", "make", "company")


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("whole", "Time the parts of the command `search`.")
    parser.add_argument("--documents", type=cli.positive_int, default=8_841_823, help="documents of random codes")
    parser.add_argument("--m", type=cli.positive_int, default=96, help="bytes a document")
    parser.add_argument("--encoder", default="all-minilm-l6-v2", help="card or folder of the query encoder")
    parser.add_argument("--dimension", type=cli.positive_int, default=384, help="dimensions of its vectors")
    parser.add_argument("--topics", help="queries; by default of random words")
    parser.add_argument("--queries", type=cli.positive_int, default=6980, help="number of them")
    parser.add_argument("--hits", type=cli.positive_int, default=1000, help="hits of a query")
    parser.add_argument("--batch-size", type=cli.positive_int, nargs="+", default=[32], help="queries of a batch")
    parser.add_argument("--threads", type=cli.positive_int, nargs="+", default=[1, 2], help="threads of all")
    parser.add_argument("--folder", type=Path, help="index folder that is there; by default one is made, and deleted")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    with tempfile.TemporaryDirectory() as place:
        data = random_data(args.documents, args.dimension, args.m, np.random.default_rng(0))
        folder = args.folder or make_folder(data, Path(place), args.encoder)
        imports = timed(lambda: __import__("pyserini_jpq.search.searcher"), "wall")
        print(f"imports, once: {imports:.2f} s")
        for threads in args.threads:
            for size in args.batch_size:
                print(f"\n{threads} threads, batches of {size}")
                measure(args, folder, Path(place) / f"run.{threads}.{size}", data.codes, threads, size)


def measure(args: argparse.Namespace, folder: Path, run: Path, codes: Any, threads: int, size: int) -> None:
    """Run the command once, and print a row for each part."""
    import torch

    from pyserini_jpq.search.run import search

    texts, before = topics_of(args), torch.get_num_threads()
    torch.set_num_threads(threads)
    options = SearchOptions(hits=args.hits, batch_size=size, threads=threads, tag="whole")
    try:
        with parts() as taken:
            whole = timed(lambda: search(folder, texts, run, options=options), "wall")
        bound = floors(args, list(texts.values()), codes, run)
    finally:
        torch.set_num_threads(before)
    taken["rest"] = whole - sum(taken.values())
    table = shared.Printed("part", "s", "ms/query", "share", "floor ms", "floors", first=10)
    for name, seconds in (*taken.items(), ("whole", whole)):
        each = 1e3 * seconds / len(texts)
        figures = [f"{seconds:.2f}", f"{each:.3f}", f"{100 * seconds / whole:.1f} %"]
        least = 1e3 * bound[name] if name in bound else None
        table.add(name, *figures, *(["", ""] if least is None else [f"{least:.4f}", f"{each / least:.1f}"]))


def topics_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the queries: of the topics, from the beginning again where there are too few, or random words."""
    from pyserini_jpq.data.topics import read_topics

    if args.topics:
        texts = list(read_topics(args.topics).values())
        return {str(i): texts[i % len(texts)] for i in range(args.queries)}
    chosen = np.random.default_rng(1).choice(COMMON, (args.queries, WORDS))
    return {str(i): " ".join(row) for i, row in enumerate(chosen)}


@contextmanager
def parts() -> Iterator[dict[str, float]]:
    """Yield the seconds that each part takes, by name, while the block runs; a part within another counts once."""
    from pyserini_jpq.data import run_writer
    from pyserini_jpq.encode.queries import QueryVectors
    from pyserini_jpq.index.docids import Docids
    from pyserini_jpq.search import run
    from pyserini_jpq.search.engines.base import SearchEngine
    from pyserini_jpq.search.engines.codes import TableEngine

    places: dict[str, tuple[Any, str]] = {
        "opening": (run, "_jpq_searcher"),
        "encoder": (QueryVectors, "encode"),
        "tables": (TableEngine, "prepared"),
        "scan": (SearchEngine, "search"),
        "docids": (Docids, "at"),
        "order": (run_writer, "trec_order"),
        "writing": (run_writer.RunWriter, "write_ranked"),
    }
    taken = dict.fromkeys(places, 0.0)
    inner: list[float] = []

    def measured(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - started
                taken[name] += took - inner.pop()
                if inner:
                    inner[-1] += took

        return call

    before = {name: getattr(place, attribute) for name, (place, attribute) in places.items()}
    try:
        for name, (place, attribute) in places.items():
            setattr(place, attribute, measured(name, before[name]))
        yield taken
    finally:
        for name, (place, attribute) in places.items():
            setattr(place, attribute, before[name])


def floors(args: argparse.Namespace, texts: Sequence[str], codes: Any, run: Path) -> dict[str, float]:
    """Return the seconds of a query that parts take at least, by name."""
    from benchmarks.encoding import operations, peak
    from pyserini_jpq.encode.source import find_encoder

    rate = peak(time.perf_counter, "float32")
    encoder = find_encoder(args.encoder).load()
    some = texts[:64]
    content = run.read_bytes()
    rows = [line.split() for line in content.decode().splitlines()]
    docids, scores = "\n".join(row[2] for row in rows), np.array([float(row[4]) for row in rows], dtype=np.float32)
    return {
        "encoder": operations(encoder, some, encoder.card.query) / len(some) / rate,
        "tables": 2 * (256 * args.dimension + args.dimension**2) / rate,
        "scan": _least(partial(read_once, codes)),
        "docids": _least(partial(docids.split, "\n")) / len(texts),
        "order": _least(partial(np.sort, scores.reshape(len(texts), -1))) / len(texts),
        "writing": _least(lambda: run.with_name("copy").write_bytes(content)) / len(texts),
    }


def _least(work: Callable[[], Any]) -> float:
    return min(timed(work, "wall") for _ in range(3))


if __name__ == "__main__":
    sys.exit(cli.run(main))

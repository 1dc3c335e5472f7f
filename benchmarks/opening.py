"""`python -m benchmarks.opening`: opening a large index, the memory it takes, and queries from text to hits."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared
from benchmarks.data import random_data
from benchmarks.searchers import make_folder
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import resident_bytes, timed
from pyserini_jpq.search.latency import summary

SEARCHERS = ("JPQFaissSearcher", "FaissSearcher")


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("opening", "Open a large index in a process of its own, and search it by texts.")
    parser.add_argument("--documents", type=cli.positive_int, default=8_841_823, help="documents of random codes")
    parser.add_argument("--m", type=cli.positive_int, default=96, help="bytes a document")
    parser.add_argument("--encoder", default="all-minilm-l6-v2", help="card or folder of the query encoder")
    parser.add_argument("--dimension", type=cli.positive_int, default=384, help="dimensions of its vectors")
    parser.add_argument("--topics", required=True, help="queries")
    parser.add_argument("--queries", type=cli.positive_int, default=30, help="number of them, searched one at a time")
    parser.add_argument("--hits", type=cli.positive_int, default=10, help="hits of a query")
    shared.add_clock(parser)
    parser.add_argument("--searcher", choices=SEARCHERS, help="only this one, in this process, of --folder")
    parser.add_argument("--folder", type=Path, help="index folder that is there; by default one is made, and deleted")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    if args.searcher:
        print(json.dumps(measure(args)))
        return
    header = ("searcher", "open s", "resident", "first ms", "encode ms", "text to hits ms", "p99")
    table = shared.Printed(*header, first=16)
    with tempfile.TemporaryDirectory() as place:
        folder = args.folder or make_folder(
            random_data(args.documents, args.dimension, args.m, np.random.default_rng(0)), Path(place), args.encoder
        )
        for searcher in SEARCHERS:
            flags = ["--folder", str(folder), "--searcher", searcher]
            command = [sys.executable, "-m", "benchmarks.opening", *argv, *flags]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(output.splitlines()[-1])
            figures = [f"{found['open']:.2f}", f"{found['resident']:.3f}", f"{found['first']:.1f}"]
            figures += [f"{found['encode']:.2f}", f"{found['median_ms']:.1f}", f"{found['p99_ms']:.1f}"]
            table.add(searcher, *figures)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Open the folder and search it by texts in this process, with one thread."""
    import torch

    from pyserini_jpq import JPQFaissSearcher, JPQQueryEncoder
    from pyserini_jpq.compat import pyserini
    from pyserini_jpq.data.topics import read_topics
    from pyserini_jpq.index.encoders import query_encoder_source
    from pyserini_jpq.index.folder import IndexFolder

    torch.set_num_threads(1)
    texts = list(read_topics(args.topics).values())[: args.queries]
    encoder = JPQQueryEncoder(query_encoder_source(IndexFolder(args.folder)))
    encoder.encoder.weights_sha256()  # the searcher reads all weights for it, and their memory is not the index's
    encoding = [timed(lambda text=text: encoder.encode(text), args.clock) for text in texts]
    before = resident_bytes()
    kind = JPQFaissSearcher if args.searcher == SEARCHERS[0] else pyserini.faiss_searcher_base()
    opened: list[Any] = []
    opening = timed(lambda: opened.append(kind(str(args.folder), encoder)), args.clock)
    (searcher,) = opened
    first = timed(lambda: searcher.search(texts[0], args.hits), args.clock)
    whole = [1e3 * timed(lambda text=text: searcher.search(text, args.hits), args.clock) for text in texts]
    return {
        "open": opening,
        "resident": (resident_bytes() - before) / (searcher.num_docs * args.m),
        "first": 1e3 * first,
        "encode": 1e3 * float(np.median(encoding)),
        **summary(whole),
    }


if __name__ == "__main__":
    sys.exit(cli.run(main))

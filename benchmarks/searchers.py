"""`python -m benchmarks.searchers`: `JPQFaissSearcher` beside Pyserini's `FaissSearcher`, on the same index folder."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared
from benchmarks.data import Data, index_data, random_data
from benchmarks.measure import read_once
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import timed
from pyserini_jpq.errors import JPQError
from pyserini_jpq.index.manifest import BLOCKS
from pyserini_jpq.quantizer import Codes, Floats


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("searchers", "Compare JPQFaissSearcher with the stock FaissSearcher, by query vectors.")
    parser.add_argument("--documents", type=cli.positive_int, default=1_000_000, help="documents of random codes")
    parser.add_argument("--dimension", type=cli.positive_int, default=768, help="dimensions of random centroids")
    parser.add_argument("--m", type=cli.positive_int, nargs="+", default=[96, 48, 24, 16], help="bytes a document")
    parser.add_argument("--index", nargs="+", help="in place of random centroids, those of these indexes")
    parser.add_argument("--topics", help="their queries, encoded by their encoders")
    parser.add_argument("--queries", type=cli.positive_int, nargs="+", default=[1, 32], help="queries of a batch")
    parser.add_argument("--hits", type=cli.positive_int, nargs="+", default=[10, 100, 1000], help="hits of a query")
    parser.add_argument("--rounds", type=cli.positive_int, default=15, help="times that each searcher runs")
    shared.add_clock(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    if bool(args.index) != bool(args.topics):
        raise JPQError("--index and --topics go together")
    header = ("m", "queries", "k", "stock", "ours", "speed-up", "floor", "floors", "mapped", "floors")
    table = shared.Printed(*header)
    rng = np.random.default_rng(0)
    for source in args.index or args.m:
        compare(data_of(args, source, rng), args, table)


def data_of(args: argparse.Namespace, source: Any, rng: np.random.Generator) -> Data:
    """Return random codes for random centroids of M subspaces, or for those of an index."""
    if not args.index:
        return random_data(args.documents, args.dimension, source, rng)
    data = index_data(source, args.topics)
    codes = rng.integers(0, 256, (args.documents, data.quantizer.m), dtype=np.uint8)
    return Data(data.quantizer, codes, data.queries)


def compare(data: Data, args: argparse.Namespace, table: shared.Printed) -> None:
    """Print a row for each number of queries and hits."""
    from pyserini_jpq import JPQFaissSearcher
    from pyserini_jpq.compat import pyserini

    with tempfile.TemporaryDirectory() as place:
        folder = make_folder(data, Path(place))
        stock = pyserini.faiss_searcher_base()(str(folder), None)
        ours = JPQFaissSearcher(folder, query_encoder=False)
        mapped = np.memmap(folder / BLOCKS, dtype=np.uint8, mode="r")[: data.codes.size]
        for size in args.queries:
            for k in args.hits:
                times = _times(stock, ours, data, mapped, size, k, args)
                table.add(data.quantizer.m, size, k, *_figures(len(data.codes), size, times))


def make_folder(data: Data, place: Path, encoder: str | None = None) -> Path:
    """Write a plain faiss index of the codes, and import it as a user would: `convert --from faiss`."""
    import faiss

    from pyserini_jpq.convert.__main__ import main as convert
    from pyserini_jpq.index.faiss_format import to_faiss

    faiss.write_index(to_faiss(data.quantizer, data.codes), str(place / "plain"))
    docids = "".join(f"{row}\n" for row in range(len(data.codes)))
    (place / "docid").write_text(docids)
    folder = place / "folder"
    flags = ["--index", str(place / "plain"), "--docid", str(place / "docid"), "--output", str(folder)]
    convert(["--from", "faiss", *flags, *(["--encoder", encoder] if encoder else [])])
    (place / "plain").unlink()
    return folder


def _times(stock: Any, ours: Any, data: Data, mapped: Codes, size: int, k: int, args: argparse.Namespace) -> np.ndarray:
    """Return seconds, [4, rounds]: of the stock searcher, of ours, of reading the codes in memory, in their file."""
    rows = []
    for number in range(-1, args.rounds):  # the first does not count
        vectors = data.queries.part(max(number, 0), size).vectors
        work = [_search(stock, vectors, k), _search(ours, vectors, k)]
        work += [lambda: read_once(data.codes), lambda: read_once(mapped)]
        rows.append([timed(one, args.clock) for one in work])
    return np.array(rows[1:]).T


def _search(searcher: Any, vectors: Floats, k: int) -> Callable[[], Any]:
    if len(vectors) == 1:
        return lambda: searcher.search(vectors, k)
    qids = [str(number) for number in range(len(vectors))]
    return lambda: searcher.batch_search(vectors, qids, k)


def _figures(documents: int, size: int, times: np.ndarray) -> list[str]:
    """Return milliseconds of a query and a million documents, and medians of the ratios of each round."""
    stock, ours, read, read_mapped = times
    a, b, c, d = np.median([stock / size, ours / size, read, read_mapped], axis=1) * 1e9 / documents
    speedup, floors, mapped = (np.median(x) for x in (stock / ours, ours / size / read, ours / size / read_mapped))
    return [f"{value:.2f}" for value in (a, b, speedup, c, floors, d, mapped)]


if __name__ == "__main__":
    sys.exit(cli.run(main))

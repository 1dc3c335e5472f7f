"""`python -m benchmarks.quantizers`: what quantizers are worth at the same bytes, on one collection.

Rows of ours are what a user would run: `pyserini_jpq.index`, `train` and `search` with defaults but for the flags of
the row. The others are baselines of `pyserini_jpq.compare`, built of the same embeddings. Existing outputs are kept, so
that an interrupted benchmark goes on.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks import shared
from benchmarks.commands import run, searched
from benchmarks.engines import flat
from pyserini_jpq import cli
from pyserini_jpq.compare.baselines.base import Rows, Settings
from pyserini_jpq.compare.baselines.registry import ENGINES
from pyserini_jpq.compare.encoders import query_encoder
from pyserini_jpq.compare.scoring import named_hits, write_run
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.runs import evaluate
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.encoder import JPQQueryEncoder

OURS = {
    "OPQ": "--m {bytes}",
    "OPQ of 4 bits": "--m {codes} --bits 4",
    "additive": "--m {bytes} --quantizer additive",
    "additive in 2 parts": "--m {bytes} --quantizer additive --parts 2",
}
"""Flags of `pyserini_jpq.index`; 4 bits have two codes a byte."""
TRAINED = ", trained"
EUCLIDEAN = "OPQ, Euclidean"
"""Scores less half the squared norm: what biases give without any training."""
BASELINES = ("rq", "lsq", "rabitq", "turboquant", "scann", "binary")
ROWS = (*OURS, *(name + TRAINED for name in OURS), EUCLIDEAN, *BASELINES)
_HITS = 1000


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("quantizers", "Compare quantizers at the same bytes.")
    parser.add_argument("--embeddings", type=Path, required=True, help="folder that encode wrote")
    parser.add_argument("--test-topics", required=True, help="to measure with")
    parser.add_argument("--test-qrels", required=True, help="to measure with")
    parser.add_argument("--topics", help="of the training queries; without them no row is trained")
    parser.add_argument("--qrels", help="of the training queries")
    parser.add_argument("--bytes", type=cli.positive_int, nargs="+", default=[12, 24, 48, 96], help="of a document")
    parser.add_argument("--rows", choices=ROWS, nargs="+", default=list(ROWS), help="quantizers")
    parser.add_argument("--metrics", nargs="+", default=["nDCG@10", "R@100"], help="as in evaluate")
    parser.add_argument("--seed", type=cli.seed, default=42, help="of quantizers and training")
    parser.add_argument("--threads", type=cli.positive_int, default=1, help="of building and search")
    parser.add_argument("--work", type=Path, required=True, help="folder for indexes, encoders and runs")
    return parser


def main(argv: Sequence[str]) -> None:
    """Make all runs, and print the table in Markdown as it grows."""
    import faiss

    args = define_flags().parse_args(argv)
    if (args.topics is None) != (args.qrels is None):
        raise JPQError("--topics and --qrels go together")
    args.work.mkdir(parents=True, exist_ok=True)
    faiss.omp_set_num_threads(args.threads)
    comparison = Comparison(args)
    print("| bytes/doc | quantizer | " + " | ".join(args.metrics) + " |\n|---:|---|" + "---:|" * len(args.metrics))
    comparison.tell("", "uncompressed", comparison.run_of(args.embeddings, "flat"))
    for size in args.bytes:
        for row in args.rows:
            if row.endswith(TRAINED) and not args.topics:
                continue
            try:
                comparison.tell(str(size), row, comparison.row(size, row))
            except JPQError as error:
                cli.say(f"{row} at {size} bytes: {error}")


class Comparison:
    """Makes the rows of the table, unless that was done."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._embeddings = Embeddings(args.embeddings)
        topics, judged = read_topics(args.test_topics), read_qrels(args.test_qrels)
        self._topics = {qid: text for qid, text in topics.items() if qid in judged}

    def row(self, size: int, row: str) -> Path:
        """Return the run of a row."""
        file = self._args.work / f"{row.replace(' ', '-').replace(',', '')}-{size}.txt"
        if row.removesuffix(TRAINED) in OURS:
            return self.run_of(self._index(size, row), file.stem)
        if not file.exists():
            search = self._euclidean(size) if row == EUCLIDEAN else self._baseline(size, row)
            self._write(file, *search)
        return file

    def run_of(self, index: Path, name: str) -> Path:
        """Return the run of the test queries by the command."""
        return searched(index, self._args.test_topics, self._args.work / f"{name}.txt", self._args.threads)

    def tell(self, size: str, row: str, file: Path) -> None:
        """Print a line of the table."""
        figures = evaluate({"run": str(file)}, self._args.test_qrels, self._args.metrics).runs[0].metrics
        print(f"| {size} | {row} | " + " | ".join(f"{value:.4f}" for value in figures.values()) + " |", flush=True)

    def _index(self, size: int, row: str) -> Path:
        args, name = self._args, row.removesuffix(TRAINED)
        index = args.work / f"{name.replace(' ', '-')}.m{size}"
        common = f"--seed {args.seed} --threads {args.threads}"
        if not index.exists():
            flags = OURS[name].format(bytes=size, codes=2 * size)
            run("index", f"--embeddings {args.embeddings} --output {index} {flags} {common}")
        if name == row:
            return index
        trained = index.with_name(f"{index.name}.trained")
        if not trained.exists():
            flags = f"--topics {args.topics} --qrels {args.qrels} --output-encoder {trained}.encoder"
            run("train", f"--index {index} --output {trained} {flags} {common}")
        return trained

    def _euclidean(self, size: int) -> tuple[Floats, Rows]:
        folder = IndexFolder(self._index(size, "OPQ"))
        quantizer, codes = from_faiss(folder.read(), folder.path)
        halves = -np.square(quantizer.centroids).sum(axis=2) / 2
        return flat(dataclasses.replace(quantizer, biases=halves), codes).search(self._queries, self._hits)

    def _baseline(self, size: int, name: str) -> tuple[Floats, Rows]:
        if missing := ENGINES[name].missing():
            raise JPQError(missing)
        built = ENGINES[name].build(self._vectors, Settings(size, self._args.seed))
        return built.search(self._queries, self._hits)

    @cached_property
    def _vectors(self) -> Floats:
        return np.concatenate(list(self._embeddings.blocks(1 << 16)))

    @cached_property
    def _queries(self) -> Floats:
        encoder = JPQQueryEncoder(query_encoder(self._args.embeddings))
        return encoder.encode_batch(list(self._topics.values()))

    @property
    def _hits(self) -> int:
        return min(_HITS, self._embeddings.documents)

    def _write(self, file: Path, scores: Floats, rows: Rows) -> None:
        write_run(file, named_hits(scores, rows, self._topics, list(self._embeddings.docids())), file.stem)


if __name__ == "__main__":
    sys.exit(cli.run(main))

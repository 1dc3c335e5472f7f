"""`python -m benchmarks.rescoring`: time and memory of scoring hits again by vectors on disk, warm and cold.

Vectors and hits are random. Cold means that no page of the file is in memory, before each query.
"""

import argparse
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import shared
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import measured, resident_bytes
from pyserini_jpq.index.manifest import KINDS
from pyserini_jpq.index.vectors import Vectors, write_vectors

_BLOCK = 1 << 16
_QUERIES = 50


def define_flags() -> argparse.ArgumentParser:
    """Return the parser of this benchmark."""
    parser = shared.parser("rescoring", "Time and memory of scoring hits again by vectors on disk.")
    parser.add_argument("--documents", type=cli.positive_int, default=1_000_000)
    parser.add_argument("--dimension", type=cli.positive_int, default=384)
    parser.add_argument("--depths", type=cli.positive_int, nargs="+", default=[100, 1000])
    parser.add_argument("--folder", type=Path, help="folder of a real disk for the file (default: a temporary one)")
    shared.add_clock(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the benchmark and print a table."""
    args = define_flags().parse_args(argv)
    rng = np.random.default_rng(0)
    table = shared.Printed("vectors", "depth", "bytes/doc", "file MB", "warm ms", "cold ms", "MB grown", first=8)
    for kind in KINDS:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            path, shape = Path(folder) / "vectors", (args.documents, args.dimension)
            starts = range(0, args.documents, _BLOCK)
            sizes = (min(_BLOCK, args.documents - start) for start in starts)
            blocks = (rng.standard_normal((size, args.dimension), dtype=np.float32) for size in sizes)
            write_vectors(path, kind, *shape, blocks)
            for depth in args.depths:
                size = path.stat().st_size
                told = (f"{size / args.documents:.0f}", f"{size / 1e6:.0f}")
                warm, cold, grown = _measured(path, shape, depth, args.clock, rng)
                table.add(kind, depth, *told, f"{warm:.3f}", f"{cold:.3f}", f"{grown / 1e6:.1f}")


def _measured(
    path: Path, shape: tuple[int, int], depth: int, clock: str, rng: np.random.Generator
) -> tuple[float, float, int]:
    """Return the median milliseconds of a query, warm and cold, and the growth of resident memory."""
    vectors = Vectors(path, *shape)
    queries = rng.standard_normal((_QUERIES, 1, shape[1]), dtype=np.float32)
    rows = rng.integers(0, shape[0], (_QUERIES, 1, depth))
    before = resident_bytes() or 0

    def score(i: int) -> None:
        vectors.scores(queries[i], rows[i])

    def score_cold(i: int) -> None:
        _forget(vectors)
        vectors.scores(queries[i], rows[i])

    cold = measured(score_cold, _QUERIES)
    forgetting = measured(lambda i: _forget(vectors), _QUERIES)
    warm = measured(score, _QUERIES, _QUERIES)
    grown = (resident_bytes() or 0) - before
    return (
        warm[clock]["median_ms"],
        max(0.0, cold[clock]["median_ms"] - forgetting[clock]["median_ms"]),
        max(0, grown),
    )


def _forget(vectors: Vectors) -> None:
    """Take the pages of a file out of memory, where the system can."""
    if not hasattr(os, "posix_fadvise"):
        return
    vectors.file.madvise(mmap.MADV_DONTNEED)
    with open(vectors.path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(cli.run(main))

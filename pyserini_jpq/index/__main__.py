"""`python -m pyserini_jpq.index`: a folder of embeddings becomes an OPQ index."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("index", "Build an OPQ index; run again after an interruption, it goes on where it stopped.")
    parser.add_argument("--embeddings", required=True, type=Path, help="folder that encode wrote")
    parser.add_argument("--output", required=True, type=Path, help="index folder to write")
    parser.add_argument("--m", type=cli.positive_int, default=96, help="subspaces: a divisor of the dimensions")
    parser.add_argument("--bits", type=int, choices=(8,), default=8, help="bits of a code in one subspace")
    parser.add_argument(
        "--sample", type=cli.positive_int, default=65536, help="documents that rotation and centroids are trained on"
    )
    parser.add_argument("--seed", type=cli.seed, default=42, help="of the sample and of the k-means")
    parser.add_argument("--threads", type=cli.positive_int, default=None, help="most threads to use; all by default")
    parser.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    build(args)


def build(args: argparse.Namespace) -> None:
    """Build what the flags name."""
    import faiss

    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.index.build import IndexSettings, build_index

    if args.threads:
        faiss.omp_set_num_threads(args.threads)
    settings = IndexSettings(args.m, args.bits, args.sample, args.seed)
    embeddings = Embeddings(args.embeddings)
    build_index(embeddings, settings, args.output, args.overwrite)
    cli.say(f"{embeddings.documents} documents of {args.m * args.bits // 8} bytes: {args.output}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

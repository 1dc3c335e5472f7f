"""`python -m pyserini_jpq.search`: search topics and write a run file, with the flags of Pyserini's search."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.cluster import Cluster, ClusterOptions
from pyserini_jpq.options import add_flags, from_flags
from pyserini_jpq.search.options import SearchOptions

DEFAULT_INDEX = "msmarco-v1-passage.jpq-m96"
_ITS_TOPICS = ("msmarco-passage", "msmarco-v1-passage", "dl19-passage", "dl20-passage")


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("search", "Search topics in an index and write a run file.")
    parser.add_argument("--index", help=f"index folder, name or card, or embeddings (default: {DEFAULT_INDEX})")
    parser.add_argument("--topics", required=True, help="TSV or JSONL file (.gz or not), or a Pyserini name")
    parser.add_argument("--output", type=Path, help="run file (default: runs/run.COLLECTION.CONDITION.TOPICS.txt)")
    parser.add_argument("--overwrite", action="store_true", help="replace the run file that is there")
    add_flags(parser, SearchOptions)
    add_flags(parser, ClusterOptions)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    # Naming the index, or the topics of the default index, is consent to download it.
    asked = args.index is not None or args.topics.startswith(_ITS_TOPICS)
    options = from_flags(SearchOptions, vars(args), yes=asked)

    cluster = Cluster.of(from_flags(ClusterOptions, vars(args)))

    from pyserini_jpq.search.run import search

    search(
        args.index or DEFAULT_INDEX,
        args.topics,
        args.output,
        options=options,
        overwrite=args.overwrite,
        cluster=cluster,
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))

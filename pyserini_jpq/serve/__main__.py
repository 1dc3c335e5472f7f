"""`python -m pyserini_jpq.serve`: serve indexes by REST and as a search page."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.cluster import Cluster, ClusterOptions
from pyserini_jpq.errors import InstallationError, JPQError, how_to_install
from pyserini_jpq.options import add_flags, from_flags
from pyserini_jpq.serve.options import IndexOptions, ServerOptions


def define_flags() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = cli.parser("serve", "Serve indexes: a search page at /, REST as Pyserini's at /v1, metrics at /metrics.")
    what = "index folder, or the name of one under indexes/; NAME is its name in requests (default: the folder's)"
    parser.add_argument("indexes", nargs="+", metavar="[NAME=]INDEX", help=what)
    what = "Lucene index of the same documents: adds the methods bm25 and rrf, and texts that the index does not keep"
    parser.add_argument("--lucene", action="append", default=[], metavar="NAME=FOLDER", help=what)
    what = "serve the Model Context Protocol instead: stdio to one client that starts this command, http at /mcp"
    parser.add_argument("--mcp", choices=("stdio", "http"), help=what)
    add_flags(parser.add_argument_group("server"), ServerOptions)
    add_flags(parser.add_argument_group("search"), IndexOptions)
    add_flags(parser.add_argument_group("cluster"), ClusterOptions)
    return parser


def named(words: Iterable[str], what: str) -> dict[str, str]:
    """Return places by name from words such as NAME=PLACE; without a name the last part of the place is it."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, place = word.partition("=")
        name, place = (name, place) if equals else (Path(word).resolve().name, word)
        if not name or not place:
            raise JPQError(f"{word} is no {what}; give NAME=PLACE")
        if name in found:
            raise JPQError(f"two are named {name}; give each its own name, as in NAME=PLACE")
        found[name] = place
    return found


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    given = vars(args)
    paths = named(args.indexes, "index")
    lucene = {name: Path(place) for name, place in named(args.lucene, "Lucene index").items()}
    indexing, server = from_flags(IndexOptions, given), from_flags(ServerOptions, given)
    cluster = Cluster.of(from_flags(ClusterOptions, given))
    if args.mcp == "stdio":
        from pyserini_jpq.serve.mcp import serve_stdio

        return serve_stdio(paths, lucene, indexing, cluster)
    try:
        from pyserini_jpq.serve.server import serve
    except ModuleNotFoundError as problem:
        raise InstallationError(f"serving needs {problem.name}; {how_to_install('serve')}") from None
    if args.mcp == "http":
        from pyserini_jpq.serve.mcp import mcp_app

        return serve(paths, lucene, indexing, server, mcp_app, cluster)
    serve(paths, lucene, indexing, server, cluster=cluster)


if __name__ == "__main__":
    sys.exit(cli.run(main))

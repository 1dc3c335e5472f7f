"""`python -m pyserini_jpq.compare`: every system on the same embeddings, in one folder of tables and figures."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.compare.options import CompareOptions, Inputs
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.metrics import DEFAULT_METRICS
from pyserini_jpq.evaluate.runs import named_runs
from pyserini_jpq.options import add_flags, from_flags

_NEEDED = ("output", "embeddings", "topics", "qrels", "index")


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("compare", "Build, search and measure systems on the same embeddings, and write a report.")
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("runs", nargs="*", metavar="RUN", help="as --run")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="report to write")
    parser.add_argument("--embeddings", type=Path, metavar="FOLDER", help="of all documents")
    parser.add_argument("--topics", help="TSV or JSONL file, or a name")
    parser.add_argument("--qrels", help="TREC or BEIR file, or a name")
    parser.add_argument("--index", nargs="+", help="folders or names; the first sets bytes and speed of baselines")
    parser.add_argument("--run", nargs="+", metavar="NAME=FILE", help="run files that become rows")
    metrics = f"as in evaluate (default: {' '.join(DEFAULT_METRICS)})"
    parser.add_argument("--metrics", nargs="+", metavar="METRIC", help=metrics)
    parser.add_argument("--overwrite", action="store_true", default=False, help="replace the report")
    add_flags(parser, CompareOptions)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    given = vars(define_flags().parse_args(argv))
    problems: list[str] = []
    if missing := [f"--{name}" for name in _NEEDED if name not in given]:
        problems.append(f"a report needs {', '.join(missing)}")
    runs = named_runs([*given.get("runs", []), *given.get("run", [])], problems)
    if problems:
        raise JPQError("; ".join(problems))

    from pyserini_jpq.compare.report import compare
    from pyserini_jpq.index.folder import find_index

    indexes = tuple(find_index(name) for name in given["index"])
    inputs = Inputs(given["embeddings"], given["topics"], given["qrels"], indexes, runs)
    options = from_flags(CompareOptions, {**given, "metrics": tuple(given.get("metrics", DEFAULT_METRICS))})
    command = shlex.join(["python", "-m", "pyserini_jpq.compare", *argv])
    rows = compare(inputs, given["output"], options, given["overwrite"], command)
    cli.say(f"{len(rows)} rows: {given['output'] / 'report.md'}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

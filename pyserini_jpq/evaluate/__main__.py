"""`python -m pyserini_jpq.evaluate`: one table of several runs, or a report that measures systems itself."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError, OutputError
from pyserini_jpq.evaluate import figures, table
from pyserini_jpq.evaluate.metrics import DEFAULT_METRICS, parse_metrics, unknown_metrics
from pyserini_jpq.evaluate.runs import Comparison, evaluate, is_sidecar, run_name
from pyserini_jpq.files import refuse_existing_file, write_json_atomically

_FIGURES = (".png", ".pdf", ".svg")
REPORT_FLAGS = (
    *("embeddings", "topics", "index", "baselines", "train-topics", "train-qrels", "run", "bm25", "corpus", "hits"),
    *("faiss-device", "clock", "seed"),
)


@dataclass(frozen=True)
class _Request:
    """The arguments, found to be right."""

    runs: dict[str, str]
    qrels: str
    metrics: list[str]
    baseline: str
    sizes: dict[str, float]


def main(argv: Sequence[str]) -> None:
    """Evaluate runs and print their table."""
    given = vars(_parser().parse_args(argv))
    if "report" in given:
        from pyserini_jpq.compare.__main__ import report

        return report(given, list(argv))
    if stray := [name for name in REPORT_FLAGS if name.replace("-", "_") in given]:
        raise JPQError(f"{', '.join('--' + name for name in stray)}: only with --report FOLDER")
    request = _checked(given)
    comparison = evaluate(request.runs, request.qrels, request.metrics, request.baseline, request.sizes)
    _note_queries(comparison)
    print(table.render(comparison, given["format"]), flush=True)
    if "json" in given:
        write_json_atomically(Path(given["json"]), table.as_dict(comparison))
    if "figure" in given:
        figures.draw(comparison, Path(given["figure"]))


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser("evaluate", "Compare runs: metrics as trec_eval -c computes them, and a paired t-test.")
    unset: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run file, TREC or MS MARCO; or NAME=FILE", **unset)
    parser.add_argument("--qrels", required=True, help="TREC or BEIR file, or a name that Pyserini knows", **unset)
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="as in ir_measures (nDCG@10 'R(rel=2)@1000' AP) or trec_eval (ndcg_cut.10 recall.1000 map) "
        f"(default: {' '.join(DEFAULT_METRICS)})",
        **unset,
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="run to test the others against (default: the first)", **unset
    )
    parser.add_argument(
        "--bytes",
        nargs="+",
        metavar="NAME=N",
        help="bytes per document of a run (default: what the file RUN.json beside it says)",
        **unset,
    )
    parser.add_argument(
        "--format", choices=tuple(table.FORMATS), default="text", help="of the table on standard output"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures, unrounded", **unset)
    parser.add_argument(
        "--figure",
        metavar="FILE",
        help=f"draw the first metric against bytes per document ({', '.join(_FIGURES)})",
        **unset,
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the files or the folder", **unset)
    _add_report_flags(parser.add_argument_group("a report that builds, searches and measures systems itself"))
    return parser


def _add_report_flags(group: Any) -> None:
    unset: dict[str, Any] = {"default": argparse.SUPPRESS}
    group.add_argument("--report", type=Path, metavar="FOLDER", help="what to write", **unset)
    group.add_argument("--embeddings", type=Path, metavar="FOLDER", help="of all documents", **unset)
    group.add_argument("--topics", help="TSV or JSONL file, or a name", **unset)
    group.add_argument(
        "--index",
        nargs="+",
        metavar="INDEX",
        help="folders or names; the first sets bytes and speed of baselines",
        **unset,
    )
    group.add_argument("--baselines", metavar="NAMES", help="all, none, or names with commas between", **unset)
    group.add_argument("--train-topics", help="queries that supervised baselines learn from", **unset)
    group.add_argument("--train-qrels", help="which documents are relevant to them", **unset)
    group.add_argument("--run", nargs="+", metavar="NAME=FILE", help="run files that become rows", **unset)
    group.add_argument("--bm25", metavar="FILE", help="run to fuse with the first index's", **unset)
    group.add_argument("--corpus", type=Path, help="collection with the texts of documents", **unset)
    group.add_argument("--hits", type=cli.positive_int, help="of each query (100)", **unset)
    group.add_argument("--faiss-device", help="search the first index and flat there, too, as cuda:0", **unset)
    group.add_argument("--clock", choices=("wall", "cpu"), help="cpu: without other processes' share (wall)", **unset)
    group.add_argument("--seed", type=cli.seed, help="of baselines (42)", **unset)


def _checked(given: dict[str, Any]) -> _Request:
    """Check all arguments before anything is read; raises JPQError with all that is wrong with them."""
    problems: list[str] = []
    runs = named_runs(given.get("runs", []), problems)
    if not runs:
        problems.append("no run is given; runs come before --metrics and --bytes")
    sizes = _named_sizes(given.get("bytes", []), problems)
    baseline = given.get("baseline", next(iter(runs), ""))
    strangers = [name for name in dict.fromkeys([baseline, *sizes]) if name not in runs]
    if runs and strangers:
        problems.append(f"no run is named {', '.join(strangers)} (the runs are {', '.join(runs)})")
    metrics = given.get("metrics", list(DEFAULT_METRICS))
    unknown = parse_metrics(metrics)[1]
    if unknown:
        problems.append(unknown_metrics(unknown))
    outputs = {flag: given[flag] for flag in ("json", "figure") if flag in given}
    for flag, path in outputs.items():
        try:
            refuse_existing_file(Path(path), "overwrite" in given)
        except OutputError as problem:
            problems.append(f"--{flag}: {problem}")
    if "figure" in outputs and Path(outputs["figure"]).suffix.lower() not in _FIGURES:
        problems.append(f"--figure {outputs['figure']} must end in {' or '.join(_FIGURES)}")
    if problems:
        raise JPQError("; ".join(problems))
    return _Request(runs, given["qrels"], metrics, baseline, sizes)


def named_runs(arguments: Sequence[str], problems: list[str]) -> dict[str, str]:
    """Return run files by name, from `FILE` and `NAME=FILE`; what is wrong with them is added to the problems."""
    runs: dict[str, str] = {}
    missing: list[str] = []
    repeated: list[str] = []
    for argument in arguments:
        is_named = "=" in argument and not os.path.exists(argument)
        name, _, path = argument.partition("=") if is_named else (run_name(argument), "", argument)
        if is_sidecar(path):
            # `runs/*` names these too.
            continue
        if not os.path.exists(path):
            missing.append(path)
        if name in runs:
            repeated.append(name)
        runs.setdefault(name, path)
    if missing:
        problems.append(f"no such run file: {', '.join(missing)}")
    if repeated:
        problems.append(f"several runs are named {', '.join(dict.fromkeys(repeated))}; name them with NAME=FILE")
    return runs


def _named_sizes(arguments: Sequence[str], problems: list[str]) -> dict[str, float]:
    sizes: dict[str, float] = {}
    for argument in arguments:
        name, _, text = argument.rpartition("=")
        try:
            size = cli.positive_float(text)
        except argparse.ArgumentTypeError as problem:
            problems.append(f"--bytes {argument}: {problem}; expected NAME=N")
            continue
        sizes[name] = int(size) if size.is_integer() else size
    return sizes


def _note_queries(comparison: Comparison) -> None:
    """Say how many queries a run has too many (left out) or too few (count 0)."""
    for run in comparison.runs:
        if run.unjudged:
            cli.say(f"note: {run.name}: {run.unjudged} queries of the run are not in the qrels and are left out")
        if run.missing:
            total = comparison.queries
            cli.say(f"note: {run.name}: {run.missing} of the {total} queries of the qrels have no hits and count 0")


if __name__ == "__main__":
    sys.exit(cli.run(main))

"""`python -m pyserini_jpq.evaluate`: one table of several runs, with significance tests."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError, OutputError
from pyserini_jpq.evaluate import figures, table
from pyserini_jpq.evaluate.metrics import DEFAULT_METRICS, parse_metrics, unknown_metrics
from pyserini_jpq.evaluate.runs import Comparison, evaluate, named_runs
from pyserini_jpq.files import refuse_existing_file, write_json_atomically

_FIGURES = (".png", ".pdf", ".svg")
OF_COMPARE = (
    *("embeddings", "topics", "index", "baselines", "train-topics", "train-qrels", "run", "bm25", "corpus", "hits"),
    *("faiss-device", "clock", "seed"),
)
_NOT_OF_COMPARE = ("baseline", "bytes", "json", "figure")


def main(argv: Sequence[str]) -> None:
    """Evaluate runs and print their table."""
    if any(map(_is_report, argv)):
        return _report(argv)
    known, others = _parser().parse_known_args(argv)
    given = vars(known)
    if others:
        only = [word for word in others if word.partition("=")[0].removeprefix("--") in OF_COMPARE]
        unknown = f"unrecognized arguments: {' '.join(others)} (--help lists the flags)"
        raise JPQError(f"{', '.join(only)}: only with --report FOLDER" if only else unknown)
    comparison = evaluate(**_checked(given))
    _note_queries(comparison)
    print(table.render(comparison, given["format"]), flush=True)
    if "json" in given:
        write_json_atomically(Path(given["json"]), table.as_dict(comparison))
    if "figure" in given:
        figures.draw(comparison, Path(given["figure"]))


def _report(argv: Sequence[str]) -> None:
    """Start `compare`, which writes reports now."""
    words = [word.partition("=")[0] for word in argv]
    if stray := [f"--{name}" for name in _NOT_OF_COMPARE if f"--{name}" in words]:
        raise JPQError(f"{', '.join(stray)}: not with --report, which writes results.json and figures of its own")
    cli.say("note: evaluate --report FOLDER is python -m pyserini_jpq.compare --output FOLDER now")
    passed = ["--output" + word[len(words[i]) :] if _is_report(word) else word for i, word in enumerate(argv)]
    # By its name: no module of this room may import one above it.
    importlib.import_module("pyserini_jpq.compare.__main__").main(passed)


def _is_report(word: str) -> bool:
    name = word.partition("=")[0]
    return len(name) > len("--r") and "--report".startswith(name)  # argparse takes the beginning of a flag, too


def _parser() -> argparse.ArgumentParser:
    parser = cli.parser("evaluate", "Compare runs: metrics as trec_eval -c computes them, and a paired t-test.")
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run file, TREC or MS MARCO; or NAME=FILE")
    parser.add_argument("--qrels", required=True, help="TREC or BEIR file, or a name that Pyserini knows")
    metrics = "as in ir_measures (nDCG@10 'R(rel=2)@1000' AP) or trec_eval (ndcg_cut.10 recall.1000 map) "
    metrics += f"(default: {' '.join(DEFAULT_METRICS)})"
    parser.add_argument("--metrics", nargs="+", metavar="METRIC", help=metrics)
    parser.add_argument("--baseline", metavar="NAME", help="run to test the others against (default: the first)")
    sizes = "bytes per document of a run (default: what the file RUN.json beside it says)"
    parser.add_argument("--bytes", nargs="+", metavar="NAME=N", help=sizes)
    parser.add_argument("--format", choices=table.FORMATS, default="text", help="of the table on standard output")
    parser.add_argument("--json", metavar="FILE", help="write the figures, unrounded")
    figure = f"draw the first metric against bytes per document ({', '.join(_FIGURES)})"
    parser.add_argument("--figure", metavar="FILE", help=figure)
    parser.add_argument("--overwrite", action="store_true", help="replace the files or the folder")
    parser.add_argument("--report", metavar="FOLDER", help="now `python -m pyserini_jpq.compare --output FOLDER`")
    return parser


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `evaluate`, or raise JPQError with all that is wrong with them."""
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
    arguments = {"runs": runs, "qrels": given["qrels"], "metrics": metrics, "baseline": baseline}
    return {**arguments, "bytes_per_document": sizes}


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
    """Say how many queries of a run are not judged (left out), and how many judged ones it lacks (count 0)."""
    for run in comparison.runs:
        name, total = table.plain(run.name), comparison.queries
        if run.unjudged:
            cli.say(f"note: {name}: {run.unjudged} queries of the run are not in the qrels and are left out")
        if run.missing:
            cli.say(f"note: {name}: {run.missing} of the {total} queries of the qrels have no hits and count 0")


if __name__ == "__main__":
    sys.exit(cli.run(main))

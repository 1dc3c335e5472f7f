"""`python -m pyserini_jpq.reproduce`: run an experiment's commands and compare its scores with the expected ones."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyserini_jpq import cli
from pyserini_jpq.errors import ExperimentError
from pyserini_jpq.reproduce.experiment import Experiment, check_commands, experiment_names, read_experiment

if TYPE_CHECKING:
    from pyserini_jpq.reproduce.runner import Result

_MARKS = {"OK": "[OK]", "OKish": "[OKish]", "FAIL": "[FAIL]", "new": ""}


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("reproduce", "Run an experiment; run again after an interruption, it goes on where it stopped.")
    parser.add_argument("experiment", nargs="?", help=f"{', '.join(experiment_names())}, or a YAML file")
    parser.add_argument("--list", action="store_true", help="list experiments, or the rows of one, and end")
    parser.add_argument("--condition", nargs="+", metavar="ROW", help="rows to run (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, and run none")
    parser.add_argument("--set", nargs="+", metavar="NAME=VALUE", default=[], help="settings, such as threads=8")
    parser.add_argument("--page", type=Path, help="Markdown page to write the section into; rows not run are marked")
    parser.add_argument("--log", action="store_true", help="add a line to the reproduction log of --page")
    parser.add_argument("--any-command", action="store_true", help="run whatever commands a YAML file of others names")
    parser.add_argument("--overwrite", action="store_true", help="search again where runs are there")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    if not args.experiment:
        if not args.list:
            parser.error(f"name an experiment: {', '.join(experiment_names())}")
        print("\n".join(experiment_names()))
        return
    experiment = read_experiment(args.experiment, _settings(args.set))
    if not (args.any_command or args.dry_run or args.list):
        check_commands(experiment)
    if args.list:
        for name, condition in experiment.conditions.items():
            print(f"{name:20} {condition.display}")
        return
    names = args.condition or list(experiment.conditions)
    if unknown := [name for name in names if name not in experiment.conditions]:
        raise ExperimentError(f"no row {', '.join(unknown)}; {experiment.name} has {', '.join(experiment.conditions)}")
    if args.dry_run:
        _print_commands(experiment, names)
        return

    from pyserini_jpq.reproduce.page import log_line, write_page
    from pyserini_jpq.reproduce.runner import Runner

    runner = Runner(experiment, args.overwrite)
    runner.check_needs()
    results = runner.run(names)
    _print_scores(results)
    if args.page:
        write_page(args.page, experiment, {**runner.earlier(), **results}, args.log)
        cli.say(f"page: {args.page}")
    print(log_line(experiment, results))
    _refuse_failures(results)


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ExperimentError(f"--set {pair}: expected NAME=VALUE")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _print_commands(experiment: Experiment, names: Sequence[str]) -> None:
    for name in names:
        condition = experiment.conditions[name]
        print(f"# {name}")
        for command in (*(step.command for step in condition.steps), condition.command):
            print(command)


def _print_scores(results: Mapping[str, "Result"]) -> None:
    for name, result in results.items():
        print(f"{name}: {result.problem}" if result.problem else name)
        for key, scores in result.scores.items():
            for metric, score in scores.items():
                expected = "" if score.expected is None else f"expected {score.expected:.4f}"
                print(f"  {key:8} {metric:16} {score.value:.4f} {_MARKS[score.verdict]:8} {expected}".rstrip())


def _refuse_failures(results: Mapping[str, "Result"]) -> None:
    failed = [name for name, result in results.items() if result.problem]
    missed = [
        f"{name} {key} {metric}"
        for name, result in results.items()
        for key, scores in result.scores.items()
        for metric, score in scores.items()
        if score.verdict == "FAIL"
    ]
    problems = [f"not finished: {', '.join(failed)}"] if failed else []
    problems += [f"not as expected: {', '.join(missed)}"] if missed else []
    if problems:
        raise ExperimentError("; ".join(problems))


if __name__ == "__main__":
    sys.exit(cli.run(main))

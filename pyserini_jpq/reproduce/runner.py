"""Runs the commands of an experiment, each once; outputs are written whole or not at all."""

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

from pyserini_jpq import cli, steps
from pyserini_jpq.errors import ExperimentError, JPQError
from pyserini_jpq.files import remove, write_json_atomically
from pyserini_jpq.locks import exclusive
from pyserini_jpq.paths import RUNS
from pyserini_jpq.reproduce.experiment import Condition, Experiment
from pyserini_jpq.reproduce.scores import Score, score_run
from pyserini_jpq.trust.plain import read_json_object

_TIMES = "times.json"
_RESULTS = "results.json"


@dataclass
class Result:
    """Scores of a condition by topics and metric, and the seconds of its commands; or the problem that ended it."""

    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    problem: str | None = None


class Runner:
    """Runs conditions of an experiment, below `runs/EXPERIMENT/`.

    Parameters
    ----------
    experiment
        What to run.
    overwrite
        Search again even if the run exists.
    """

    def __init__(self, experiment: Experiment, overwrite: bool = False) -> None:
        self.experiment = experiment
        self.folder = RUNS / experiment.name
        self._overwrite = overwrite
        self._times: dict[str, float] = _read(self.folder / _TIMES)

    def check_needs(self) -> None:
        """Raise ExperimentError if a file that the experiment needs is missing."""
        missing = [path for path in self.experiment.needs if not Path(path).exists()]
        if missing:
            raise ExperimentError(
                f"{self.experiment.name} needs {', '.join(missing)}, not found here; --set changes where it looks"
            )

    def run(self, names: Sequence[str]) -> dict[str, Result]:
        """Run conditions one after the other; when one fails, the others still run.

        Parameters
        ----------
        names
            Names of conditions.

        Returns
        -------
        dict of str to Result
            Results by condition.

        Raises
        ------
        JPQError
            If the same experiment is already running.
        """
        results: dict[str, Result] = {}
        with exclusive(self.folder):
            for name in names:
                cli.say(f"\n== {name}")
                try:
                    results[name] = self.run_condition(name)
                except JPQError as problem:
                    cli.warn(str(problem))
                    results[name] = Result(problem=str(problem))
                noted = {**self.earlier(), **results}
                write_json_atomically(self.folder / _RESULTS, {key: asdict(result) for key, result in noted.items()})
        return results

    def earlier(self) -> dict[str, Result]:
        """Return the results of earlier runs, of conditions that still exist."""
        try:
            noted = _read(self.folder / _RESULTS)
            return {name: _result(values) for name, values in noted.items() if name in self.experiment.conditions}
        except (KeyError, TypeError, AttributeError):
            return {}

    def run_condition(self, name: str) -> Result:
        """Run the steps of a condition, search all topics, and evaluate the runs.

        Raises
        ------
        JPQError
            If a command fails.
        """
        condition = self.experiment.conditions[name]
        for step in condition.steps:
            steps.make(Path(step.output), step.command, _is_made, partial(self._run, output=step.output))
        result = Result()
        for key, topics in self.experiment.topics.items():
            run = self.run_file(name, key)
            if self._overwrite or not run.is_file():
                self._search(condition, topics.topics, run)
            result.scores[key] = score_run(run, key, topics, condition)
        keys = [step.output for step in condition.steps] + [str(self.run_file(name, k)) for k in result.scores]
        result.seconds = {key: self._times[key] for key in keys if key in self._times}
        return result

    def run_file(self, condition: str, topics: str) -> Path:
        """Return where the run of a condition on some topics lies."""
        return self.folder / f"run.{condition}.{topics}.txt"

    def _search(self, condition: Condition, topics: str, run: Path) -> None:
        # Some commands could leave a part of a run.
        beside = run.with_name(f".{run.name}.partial")
        sidecar = beside.with_name(f"{beside.name}.json")
        remove(beside)
        remove(sidecar)
        run.parent.mkdir(parents=True, exist_ok=True)
        words = Template(condition.command).substitute(topics=shlex.quote(topics), output=shlex.quote(str(beside)))
        self._run(words, str(run))
        if not beside.is_file():
            raise ExperimentError(f"{words} ended well, but wrote no run; correct the experiment")
        remove(sidecar)
        os.replace(beside, run)

    def _run(self, command: str, output: str) -> None:
        started = time.monotonic()
        steps.run_command(command)
        self._times[output] = round(time.monotonic() - started, 1)
        write_json_atomically(self.folder / _TIMES, self._times)


def _result(values: dict[str, Any]) -> Result:
    scores = {
        key: {metric: Score(**score) for metric, score in metrics.items()} for key, metrics in values["scores"].items()
    }
    return Result(scores, values["seconds"], values["problem"])


def _is_made(output: Path) -> bool:
    """Tell whether an output exists, and whether embeddings are complete."""
    from pyserini_jpq.encode.embeddings import MANIFEST, is_complete

    return is_complete(output) if (output / MANIFEST).is_file() else output.exists()


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one where it cannot be read."""
    try:
        values: dict[str, Any] = read_json_object(path)
    except (OSError, ValueError):
        return {}
    return values

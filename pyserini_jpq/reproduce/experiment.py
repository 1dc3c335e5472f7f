"""The content of an experiment's YAML file, checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from string import Template
from typing import Any, NoReturn

from pyserini_jpq.cards import checked_fields
from pyserini_jpq.errors import ExperimentError
from pyserini_jpq.trust.places import is_plain_name
from pyserini_jpq.trust.plain import read_yaml

_FOLDER = Path(__file__).parent / "experiments"


@dataclass(frozen=True)
class Topics:
    """Topics with their qrels and metrics.

    Attributes
    ----------
    topics, qrels
        Files, or names that Pyserini knows.
    metrics
        Options of trec_eval, by the name of the metric in ir_measures.
    official
        Cutoff of MS MARCO's reciprocal rank, if that is the official metric of these topics.
    """

    topics: str
    qrels: str
    metrics: Mapping[str, str]
    official: int | None = None


@dataclass(frozen=True)
class Step:
    """A command that is run unless its output exists.

    A command that could leave a part of its output writes to `$partial`, which is renamed in the end.
    """

    output: str
    command: str


@dataclass(frozen=True)
class Condition:
    """One row of the table.

    Attributes
    ----------
    display
        Name of the row.
    command
        Searches `$topics` and writes the run `$output`.
    steps
        Commands that run before.
    bytes
        Bytes of a document in the index, as the table shows them.
    scores
        Expected scores by topics and metric.
    within
        Largest difference of a score that is OKish.
    """

    display: str
    command: str
    steps: tuple[Step, ...] = ()
    bytes: str = ""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    within: float = 0.0005


@dataclass(frozen=True)
class Experiment:
    """A table of conditions on topics.

    Attributes
    ----------
    name
        Name of its file.
    title, description
        Heading and text on its page.
    page
        Markdown file that its section goes into.
    needs
        Files and folders that must exist before anything starts.
    topics, conditions
        By name, in the order of the table.
    """

    name: str
    title: str
    description: str
    page: str
    topics: Mapping[str, Topics]
    conditions: Mapping[str, Condition]
    needs: tuple[str, ...] = ()


def experiment_names() -> list[str]:
    """Return the names of the experiments that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def read_experiment(name: str, settings: Mapping[str, str] | None = None) -> Experiment:
    """Read an experiment by its name, or from a YAML file.

    Parameters
    ----------
    name
        One of `experiment_names`, or a path.
    settings
        Values that replace those of its `settings`, such as `data` and `threads`.

    Raises
    ------
    ExperimentError
        If there is none, or it cannot be used.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise ExperimentError(f"no experiment {name!r}; there are {', '.join(experiment_names())}, or give a YAML file")
    values = read_yaml(path, ExperimentError)
    return _Reader(str(path)).experiment(path.stem, values, settings or {})


def check_commands(experiment: Experiment) -> None:
    """Refuse an experiment that runs other commands than ours and Pyserini's, or writes outside of the working folder.

    Raises
    ------
    ExperimentError
        With the first such command, output or name.
    """
    for name, condition in experiment.conditions.items():
        for command in (condition.command, *(step.command for step in condition.steps)):
            if not re.match(r"python -m pyserini(_jpq)?(\.\w+)*(\s|$)", command):
                raise ExperimentError(
                    f"row {name} runs `{command}`, which is no command of ours; if you trust it, give --any-command"
                )
        for step in condition.steps:
            if Path(step.output).is_absolute() or ".." in Path(step.output).parts:
                raise ExperimentError(f"row {name} makes {step.output}, outside of the folder you work in")


class _Reader:
    """Makes an experiment of the values of a YAML file; `$name` in a text is replaced by that setting."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._settings: dict[str, str] = {}

    def experiment(self, name: str, values: Any, settings: Mapping[str, str]) -> Experiment:
        values = dict(self._mapping(values, "the file"))
        known = self._mapping(values.pop("settings", {}), "settings")
        if unknown := [key for key in settings if key not in known]:
            self._refuse(f"no setting {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
        self._settings = {key: str(value) for key, value in {**known, **settings}.items()}
        for field_name, make in (("topics", partial(self._make, Topics)), ("conditions", self._condition)):
            entries = self._mapping(values.get(field_name), field_name)
            values[field_name] = {key: make(value, f"{field_name} {key}") for key, value in entries.items()}
        experiment: Experiment = self._make(Experiment, {**values, "name": name}, "the file")
        if strange := [key for key in (*experiment.topics, *experiment.conditions) if not is_plain_name(str(key))]:
            self._refuse(f"{strange[0]!r} is no name that a file can have")
        for key, condition in experiment.conditions.items():
            self._check_scores(key, condition, experiment.topics)
        return experiment

    def _condition(self, value: Any, where: str) -> Any:
        values = dict(self._mapping(value, where))
        steps = values.pop("steps", [])
        if not isinstance(steps, list):
            self._refuse("steps are a list", where)
        return self._make(
            Condition, {**values, "steps": tuple(self._make(Step, step, f"{where}, a step") for step in steps)}, where
        )

    def _check_scores(self, name: str, condition: Condition, topics: Mapping[str, Topics]) -> None:
        for key, scores in condition.scores.items():
            where = f"condition {name}, topics {key}"
            if not isinstance(scores, Mapping) or not all(type(score) in (int, float) for score in scores.values()):
                self._refuse(f"scores are numbers by metric, not {scores!r}", where)
            if key not in topics:
                self._refuse(f"scores for unknown topics {key}", f"condition {name}")
            if strange := [metric for metric in scores if metric not in topics[key].metrics]:
                self._refuse(f"no metric {', '.join(strange)}", where)

    def _make(self, kind: Any, value: Any, where: str) -> Any:
        values = {key: self._filled(item) for key, item in self._mapping(value, where).items()}
        checked_fields(kind, values, f"{self._where}: {where}", ExperimentError)
        for name, inner in (("metrics", str), ("needs", str)):
            held = values.get(name, ())
            if not all(isinstance(item, inner) for item in (held.values() if isinstance(held, Mapping) else held)):
                self._refuse(f"{name} takes texts, not {held!r}", where)
        return kind(**values)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return Template(value).safe_substitute(self._settings)
        return tuple(map(self._filled, value)) if isinstance(value, list) else value

    def _mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self._refuse(f"expected fields and values, not {value!r}", where)
        found: Mapping[str, Any] = value
        return found

    def _refuse(self, problem: str, where: str = "the file") -> NoReturn:
        raise ExperimentError(f"{self._where}: {where}: {problem}")

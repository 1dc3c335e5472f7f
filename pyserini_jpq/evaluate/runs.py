"""Evaluates several runs against one set of qrels."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.errors import JPQError, RunError
from pyserini_jpq.evaluate.metrics import DEFAULT_METRICS, Metrics, PerQuery, Qrels, paired_t_test

_RUN_ENDINGS = (".gz", ".txt", ".tsv")
_SIDECAR_ENDING = ".json"


@dataclass(frozen=True)
class RunResult:
    """What the evaluation of a run found.

    Attributes
    ----------
    name
        The run.
    metrics
        Mean over the queries of the qrels, by metric.
    p
        p value against the baseline, by metric; empty for the baseline.
    bytes_per_document
        Size of a document in the index, if it is known.
    unjudged
        Number of queries of the run that are not in the qrels, and so were left out.
    missing
        Number of queries of the qrels that the run lacks, and so count 0.
    """

    name: str
    metrics: dict[str, float]
    p: dict[str, float] = field(default_factory=dict)
    bytes_per_document: float | None = None
    unjudged: int = 0
    missing: int = 0


@dataclass(frozen=True)
class Comparison:
    """Several runs against the same qrels.

    Attributes
    ----------
    runs
        In the order in which they were given.
    baseline
        Name of the run that the others are tested against.
    queries
        Number of queries in the qrels.
    """

    runs: tuple[RunResult, ...]
    baseline: str
    queries: int

    @property
    def metrics(self) -> list[str]:
        """The metrics, in the order in which they were asked for."""
        return list(self.runs[0].metrics)


def evaluate_runs(
    runs: Mapping[str, str | os.PathLike[str]],
    qrels: str | os.PathLike[str] | Qrels,
    metrics: Sequence[str] = DEFAULT_METRICS,
    baseline: str | None = None,
    bytes_per_document: Mapping[str, float] | None = None,
) -> Comparison:
    """Evaluate runs, and test each against a baseline with a two-sided paired t-test over the queries of the qrels.

    Parameters
    ----------
    runs
        Run files by name. A JSON file beside a run, named as the run with `.json` behind, may hold its
        `bytes_per_document`.
    qrels
        A file, a name that Pyserini knows, or grades by qid and docid.
    metrics
        As in `Metrics`.
    baseline
        Name of a run; the first by default.
    bytes_per_document
        By name of a run; comes before what lies beside the run.

    Raises
    ------
    JPQError
        If a metric, the baseline, or a run with bytes is unknown.
    RunError, TopicsError
        If a run or the qrels cannot be used.
    """
    if not runs:
        raise JPQError("no run to evaluate")
    baseline = next(iter(runs)) if baseline is None else baseline
    sizes = dict(bytes_per_document or {})
    strangers = [name for name in (baseline, *sizes) if name not in runs]
    if strangers:
        raise JPQError(f"no such run: {', '.join(strangers)}; the runs are {', '.join(runs)}")
    chosen = Metrics(metrics)
    judged = qrels if isinstance(qrels, Mapping) else read_qrels(os.fspath(qrels))
    scores: dict[str, PerQuery] = {}
    counts: dict[str, tuple[int, int]] = {}
    for name, path in runs.items():
        if name not in sizes and (size := _size_beside(Path(path))) is not None:
            sizes[name] = size
        # One run in memory at a time: a thousand hits for each of 7 thousand queries take more than a gigabyte.
        scores[name], counts[name] = _score(os.fspath(path), judged, chosen)
    results = [
        RunResult(
            name=name,
            metrics={metric: float(values.mean()) for metric, values in scores[name].items()},
            p=_p_values(scores[name], scores[baseline]) if name != baseline else {},
            bytes_per_document=sizes.get(name),
            unjudged=counts[name][0],
            missing=counts[name][1],
        )
        for name in runs
    ]
    return Comparison(tuple(results), baseline, len(judged))


def run_name(path: str | os.PathLike[str]) -> str:
    """Return the name of a run: its file's, without a leading `run.` and without the endings of text files."""
    name = Path(path).name.removeprefix("run.")
    for ending in _RUN_ENDINGS:
        name = name.removesuffix(ending)
    return name or Path(path).name


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


def is_sidecar(path: str) -> bool:
    """Tell whether a file is the one beside a run that says what the run was searched with."""
    return path.endswith(_SIDECAR_ENDING) and os.path.isfile(path.removesuffix(_SIDECAR_ENDING))


def _score(path: str, qrels: Qrels, metrics: Metrics) -> tuple[PerQuery, tuple[int, int]]:
    run = read_run(path)
    try:
        scores = metrics.per_query(qrels, run)
    except RunError as problem:
        raise RunError(f"{path}: {problem}") from None
    return scores, (sum(qid not in qrels for qid in run), sum(qid not in run for qid in qrels))


def _p_values(scores: PerQuery, baseline: PerQuery) -> dict[str, float]:
    return {metric: paired_t_test(values, baseline[metric]) for metric, values in scores.items()}


def _size_beside(run: Path) -> float | None:
    """Read the bytes per document from the file `RUN.json` beside a run, if it is there and says them."""
    path = run.with_name(f"{run.name}{_SIDECAR_ENDING}")
    if not path.is_file():
        return None
    try:
        size = json.loads(path.read_text(encoding="utf-8")).get("bytes_per_document")
    except (ValueError, AttributeError):
        raise RunError(f"{path} is no JSON object; mend it, or remove it and give --bytes") from None
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < float("inf"):
        raise RunError(f"{path}: bytes_per_document {size!r} is no number above 0; mend it, or give --bytes")
    return size

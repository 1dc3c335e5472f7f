"""Evaluating several runs against one set of qrels."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Any, cast

from pyserini_jpq.data.qrels import MAX_GRADE, read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.errors import JPQError, RunError, TopicsError
from pyserini_jpq.evaluate.metrics import DEFAULT_METRICS, Metrics, PerQuery, Qrels, Run, paired_t_test
from pyserini_jpq.trust.plain import read_json_object

File = str | os.PathLike[str]
Runs = File | Sequence[File] | Run | Mapping[str, File | Run]

_ENDINGS = re.compile(r"(\.txt|\.tsv)?(\.gz)?$", re.IGNORECASE)
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


def evaluate(
    runs: Runs,
    qrels: File | Qrels,
    metrics: Sequence[str] = DEFAULT_METRICS,
    baseline: str | None = None,
    bytes_per_document: Mapping[str, float] | None = None,
) -> Comparison:
    """Evaluate runs, and test each against a baseline with a two-sided paired t-test over the queries of the qrels.

    Parameters
    ----------
    runs
        Runs by name, or one run, or a list of files, which are named by `run_name`. A run is a file, or scores by qid
        and docid. A JSON file beside a run file, named as the run with `.json` behind, may hold its
        `bytes_per_document`.
    qrels
        A file, a name that Pyserini knows, or grades by qid and docid.
    metrics
        As in `Metrics`.
    baseline
        Name of a run; the first by default.
    bytes_per_document
        By name of a run; overrides the JSON file beside the run.

    Returns
    -------
    Comparison
        Means over all queries of the qrels, and p values.

    Raises
    ------
    JPQError
        If a metric, the baseline, or a run with bytes is unknown, or two files have one name.
    RunError, TopicsError
        If a run or the qrels cannot be used.

    Examples
    --------
    >>> qrels = {"q1": {"d1": 1}, "q2": {"d2": 1}}
    >>> runs = {"one": {"q1": {"d1": 2.0, "d3": 1.5}}, "both": {"q1": {"d3": 2.0, "d1": 1.0}, "q2": {"d2": 1.0}}}
    >>> for run in evaluate(runs, qrels, ["RR@10"]).runs:
    ...     print(run.name, run.metrics["RR@10"])
    one 0.5
    both 0.75
    """
    runs = _by_name(runs)
    if not runs:
        raise JPQError("no run to evaluate")
    baseline = next(iter(runs)) if baseline is None else baseline
    sizes = dict(bytes_per_document or {})
    strangers = [name for name in (baseline, *sizes) if name not in runs]
    if strangers:
        raise JPQError(f"no such run: {', '.join(strangers)}; the runs are {', '.join(runs)}")
    chosen = Metrics(metrics)
    judged = _checked_qrels(qrels) if isinstance(qrels, Mapping) else read_qrels(os.fspath(qrels))
    scores: dict[str, PerQuery] = {}
    counts: dict[str, tuple[int, int]] = {}
    for name, run in runs.items():
        if name not in sizes and not isinstance(run, Mapping) and (size := _size_beside(Path(run))) is not None:
            sizes[name] = size
        # One run in memory at a time: 1000 hits for each of 7000 queries take more than a gigabyte.
        scores[name], counts[name] = _score(name, run, judged, chosen)
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
    """Return the name of a run: its file's, without the endings of text files and without a leading `run.`."""
    return _ENDINGS.sub("", Path(path).name).removeprefix("run.") or Path(path).name


def named_runs(arguments: Sequence[str], problems: list[str]) -> dict[str, str]:
    """Return run files by name, from `FILE` and `NAME=FILE`; append what is wrong to `problems`."""
    runs: dict[str, str] = {}
    missing: list[str] = []
    repeated: list[str] = []
    for argument in arguments:
        is_named = "=" in argument and not os.path.exists(argument)
        name, _, path = argument.partition("=") if is_named else (run_name(argument), "", argument)
        if is_sidecar(path):
            # `runs/*` matches these, too.
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
    """Tell whether a file is the JSON file that search writes beside a run."""
    return path.endswith(_SIDECAR_ENDING) and os.path.isfile(path.removesuffix(_SIDECAR_ENDING))


def _by_name(runs: Runs) -> Mapping[str, File | Run]:
    """Return runs by their names."""
    if isinstance(runs, Mapping):
        is_one = any(isinstance(hits, Mapping) and _holds_scores(hits) for hits in runs.values())
        return {"run": cast(Run, runs)} if is_one else cast(Mapping[str, File | Run], runs)
    files = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    names = [run_name(file) for file in files]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise JPQError(f"several runs are named {', '.join(repeated)}; give a mapping of names to files")
    return dict(zip(names, files, strict=True))


def _holds_scores(hits: Mapping[str, Any]) -> bool:
    return any(not isinstance(score, Mapping) for score in hits.values())


def _score(name: str, run: File | Run, qrels: Qrels, metrics: Metrics) -> tuple[PerQuery, tuple[int, int]]:
    is_file = not isinstance(run, Mapping)
    found = read_run(os.fspath(run)) if isinstance(run, str | os.PathLike) else _checked_run(name, run)
    try:
        scores = metrics.per_query(qrels, found)
    except RunError as problem:
        raise RunError(f"{run if is_file else name}: {problem}") from None
    return scores, (sum(qid not in qrels for qid in found), sum(qid not in found for qid in qrels))


def _checked_run(name: str, run: Run) -> Run:
    """Return the scores of a Python run with the types that pytrec_eval needs."""
    try:
        found = {str(qid): {str(docid): float(score) for docid, score in hits.items()} for qid, hits in run.items()}
    except (AttributeError, TypeError, ValueError):
        raise RunError(f"{name} is no run; expected scores by qid and docid") from None
    for qid, hits in found.items():
        if not all(map(math.isfinite, hits.values())):
            raise RunError(f"{name} has a score for query {qid!r} that is no finite number")
    return found


def _checked_qrels(qrels: Qrels) -> Qrels:
    """Return Python qrels with the types that pytrec_eval needs."""
    try:
        found = {str(qid): {str(docid): index(grade) for docid, grade in all_.items()} for qid, all_ in qrels.items()}
    except (AttributeError, TypeError):
        raise TopicsError("the qrels are none; expected whole grades by qid and docid") from None
    if not found or any(not judged or max(map(abs, judged.values())) > MAX_GRADE for judged in found.values()):
        raise TopicsError(f"the qrels are empty, or have a query without grades, or a grade above {MAX_GRADE}")
    return found


def _p_values(scores: PerQuery, baseline: PerQuery) -> dict[str, float]:
    return {metric: paired_t_test(values, baseline[metric]) for metric, values in scores.items()}


def _size_beside(run: Path) -> float | None:
    """Return the bytes per document in the file `RUN.json` beside a run; None without it."""
    path = run.with_name(f"{run.name}{_SIDECAR_ENDING}")
    if not path.is_file():
        return None
    try:
        size = read_json_object(path).get("bytes_per_document")
    except (ValueError, AttributeError):
        raise RunError(f"{path} is no JSON object; mend it, or remove it and give --bytes") from None
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < float("inf"):
        raise RunError(f"{path}: bytes_per_document {size!r} is no number above 0; mend it, or give --bytes")
    return size

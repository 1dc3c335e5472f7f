"""Scores of a run by three evaluators, which must agree, and the verdict on them."""

from dataclasses import dataclass
from pathlib import Path

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.errors import RunError
from pyserini_jpq.evaluate.metrics import Metrics
from pyserini_jpq.evaluate.msmarco import reciprocal_rank
from pyserini_jpq.reproduce.experiment import Condition, Topics

OK, OKISH, FAIL, NEW = "OK", "OKish", "FAIL", "new"
_DIGITS = 4
_ROUNDING = 0.5 * 10**-_DIGITS + 1e-9


@dataclass(frozen=True)
class Score:
    """A score, the expected one, and the verdict."""

    value: float
    expected: float | None
    verdict: str


def score_run(run: Path, key: str, topics: Topics, condition: Condition) -> dict[str, Score]:
    """Evaluate a run and compare its scores with the expected ones.

    Parameters
    ----------
    run
        A TREC run.
    key
        The name of the topics in the experiment.
    topics
        Qrels and metrics.
    condition
        The expected scores.

    Returns
    -------
    dict of str to Score
        Scores by metric.

    Raises
    ------
    RunError
        If pytrec_eval, trec_eval and MS MARCO's rules do not agree on the run.
    """
    values = evaluate(run, topics)
    expected = condition.scores.get(key, {})
    return {
        metric: Score(value, expected.get(metric), verdict(value, expected.get(metric), condition.within))
        for metric, value in values.items()
    }


def evaluate(run: Path, topics: Topics) -> dict[str, float]:
    """Return the scores of a run by metric, to four decimals, on which all evaluators agree."""
    qrels = read_qrels(topics.qrels)
    hits = read_run(str(run))
    scores = {}
    for name, options in topics.metrics.items():
        (per_query,) = Metrics([name]).per_query(qrels, hits).values()
        value = float(per_query.mean())
        (by_trec_eval,) = pyserini.trec_eval([*options.split(), topics.qrels, str(run)]).values()
        _agree(run, name, value, "trec_eval", by_trec_eval, _ROUNDING)
        scores[name] = round(by_trec_eval, _DIGITS)
    if topics.official:
        relevant = {qid: {d for d, grade in grades.items() if grade > 0} for qid, grades in qrels.items()}
        (per_query,) = Metrics([f"RR@{topics.official}"]).per_query(qrels, hits).values()
        by_rank = reciprocal_rank(run, relevant, topics.official)
        _agree(run, f"RR@{topics.official}", float(per_query.mean()), "MS MARCO's rules", by_rank, 1e-6)
    return scores


def verdict(value: float, expected: float | None, within: float) -> str:
    """Judge a score as Pyserini's reproductions do: OK if equal, OKish if near or better, else FAIL."""
    if expected is None:
        return NEW
    if abs(value - expected) < 0.5 * 10**-_DIGITS:
        return OK
    return OKISH if abs(value - expected) <= within + 1e-9 or value > expected else FAIL


def _agree(run: Path, metric: str, value: float, other: str, by_other: float, tolerance: float) -> None:
    if abs(value - by_other) > tolerance:
        raise RunError(f"{run}: {metric} is {value:.6f} by pytrec_eval but {by_other:.6f} by {other}")

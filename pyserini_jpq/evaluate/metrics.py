"""Metrics by their names in ir_measures or trec_eval, computed by pytrec_eval, and their paired t-test.

Figures are those of `trec_eval -c`: means over the queries of the qrels; a query that the run lacks counts 0, and a
query without judgements is left out. Documents rank by score as a 32-bit float; equal scores rank by docid, the last in
byte order first. The order of lines and the ranks in a run file do not matter.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import JPQError, RunError

Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]
PerQuery = dict[str, NDArray[np.float64]]

DEFAULT_METRICS = ("nDCG@10", "R@100", "RR@10")
# trec_eval's measures that are a mean over queries, under the names of ir_measures.
_SUPPORTED = (
    *("nDCG", "R", "RR", "AP", "P", "Success", "Rprec", "Bpref", "infAP", "IPrec"),
    *("SetP", "SetR", "SetF", "SetAP"),
)
_TREC_EVAL_NAME = re.compile(r"([A-Za-z][A-Za-z_]*?)(?:[._][0-9]+(?:\.[0-9]+)?(?:,[0-9]+(?:\.[0-9]+)?)*)?")


class Metrics:
    """A list of metrics, ready to score runs against qrels.

    Parameters
    ----------
    names
        `nDCG@10`, `R(rel=2)@1000`, `RR@10` and so on as in ir_measures, or `ndcg_cut_10`, `recall.1000`, `recip_rank`
        and so on as in trec_eval, where one name can mean several (`P.5,10`). A repeated metric counts once.

    Attributes
    ----------
    names
        The metrics as ir_measures writes them.

    Raises
    ------
    JPQError
        If any is unknown, or trec_eval does not compute it as a mean over queries; names all such metrics.
    """

    def __init__(self, names: Sequence[str] = DEFAULT_METRICS) -> None:
        measures, unknown = parse_metrics(names)
        if unknown:
            raise JPQError(unknown_metrics(unknown))
        self._measures = measures
        self.names = list(measures)

    def per_query(self, qrels: Qrels, run: Run) -> PerQuery:
        """Score every query of the qrels.

        Parameters
        ----------
        qrels
            Grades by qid and docid.
        run
            Scores by qid and docid; queries without judgements are left out.

        Returns
        -------
        dict of str to [Q] float64
            The values of each metric, in the order of the qrels.

        Raises
        ------
        RunError
            If the run holds none of the queries.
        """
        if not any(qid in qrels for qid in run):
            raise RunError("no query of the run is in the qrels; check that both are of the same topics")
        from ir_measures import pytrec_eval

        # RR@k is not among pytrec_eval's measures: it is RR where the first relevant document is among the first k.
        computed = {name: _without_cutoff(m) if m.NAME == "RR" else m for name, m in self._measures.items()}
        # ir_measures applies the gains of one nDCG to the next that has none, so those without come first.
        wanted = sorted(set(computed.values()), key=lambda m: ("gains" in m.params, str(m)))
        rows = {qid: row for row, qid in enumerate(qrels)}
        values = {measure: np.zeros(len(rows)) for measure in wanted}
        # A query whose grades are all below 0 scores 0 in trec_eval; pytrec_eval crashes or hangs.
        judged = {qid: grades for qid, grades in qrels.items() if max(grades.values()) >= 0}
        for found in pytrec_eval.iter_calc(wanted, judged, dict(run)):
            values[found.measure][rows[found.query_id]] = found.value
        return {
            name: _cut(values[computed[name]], measure.params.get("cutoff"))
            if measure.NAME == "RR"
            else values[measure]
            for name, measure in self._measures.items()
        }


def parse_metrics(names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the `ir_measures.Measure` of each metric by its name in ir_measures, and the names that are unknown."""
    measures: dict[str, Any] = {}
    unknown = []
    for name in names:
        parsed = _parse(name)
        measures.update((str(measure), measure) for measure in parsed)
        if not parsed:
            unknown.append(name)
    return measures, unknown


def unknown_metrics(unknown: Sequence[str]) -> str:
    """Say in one line which metrics are unknown and which there are."""
    return f"unknown metrics: {', '.join(unknown)} (known: {', '.join(_SUPPORTED)}, with cutoffs such as nDCG@10)"


def paired_t_test(values: NDArray[np.float64], baseline: NDArray[np.float64]) -> float:
    """Return the p value of a two-sided paired t-test.

    Parameters
    ----------
    values, baseline
        [Q] float64, one value a query for either run, in the same order.

    Returns
    -------
    float
        From 0 to 1; 1 where the runs are equal in every query, or where a single query leaves nothing to test.
    """
    if len(values) < 2 or np.array_equal(values, baseline):
        return 1.0
    from scipy.stats import ttest_rel

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A difference that is the same in every query has no variance; its p value is 0, and scipy warns.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(ttest_rel(values, baseline).pvalue)


def _parse(name: str) -> list[Any]:
    """Return the measures of a name; none if it is unknown."""
    import ir_measures

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # ir_measures 0.4.3 parses with parts of `ast` that Python 3.12 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            parsed = [ir_measures.parse_measure(name)]
        except (ValueError, NameError, TypeError):
            parsed = _parse_trec_eval(name)
    return parsed if all(map(_is_supported, parsed)) else []


def _parse_trec_eval(name: str) -> list[Any]:
    import ir_measures

    if not _TREC_EVAL_NAME.fullmatch(name):
        return []
    try:
        return list(ir_measures.parse_trec_measure(name))
    except (ValueError, TypeError):
        return []


def _is_supported(measure: Any) -> bool:
    """Tell whether trec_eval computes a measure with its parameters; pytrec_eval ends the process for some others."""
    from ir_measures import pytrec_eval

    if measure.NAME not in _SUPPORTED:
        return False
    try:
        fits = pytrec_eval.supports(_without_cutoff(measure) if measure.NAME == "RR" else measure)
    except AssertionError:
        return False
    params = measure.params
    wholes = [params[name] for name in ("cutoff", "rel") if name in params]
    gains = params.get("gains", {})
    return (
        fits
        and all(type(value) is int and 1 <= value <= 2**31 - 1 for value in wholes)
        and all(type(value) is int and value >= 0 for pair in gains.items() for value in pair)
        # The provider names measures by two decimals.
        and 0 <= params.get("recall", 0) <= 1
        and round(params.get("recall", 0), 2) == params.get("recall", 0)
        and params.get("beta", 1) > 0
    )


def _without_cutoff(measure: Any) -> Any:
    return type(measure)(**{name: value for name, value in measure.params.items() if name != "cutoff"})


def _cut(reciprocal_ranks: NDArray[np.float64], cutoff: int | None) -> NDArray[np.float64]:
    """Set reciprocal ranks beyond a cutoff to 0, as `trec_eval -M cutoff` does."""
    if cutoff is None:
        return reciprocal_ranks
    # Half a rank of room, so that rounding of 1 / rank does not matter.
    return np.where(reciprocal_ranks * (cutoff + 0.5) > 1, reciprocal_ranks, 0.0)

import doctest
import gzip

import numpy as np
import pytest

from pyserini_jpq.errors import JPQError, RunError, TopicsError
from pyserini_jpq.evaluate import runs
from pyserini_jpq.evaluate.runs import evaluate, run_name

pytestmark = pytest.mark.unit

QRELS = {"0001": {"NA": 1}, "2": {"b": 2, "c": 0}}
RUN = {"0001": {"x": 2.0, "NA": 1.0}, "2": {"b": 3.0}}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("runs/run.x.jpq-m24.txt", "x.jpq-m24"),
        ("run.txt", "run"),
        ("run.tsv.gz", "run"),
        ("RUN.TXT.GZ", "RUN"),
        ("run.x.TXT", "x"),
        ("x.gz", "x"),
        ("run", "run"),
        (".txt", ".txt"),
    ],
)
def test_names_of_runs(file, name):
    assert run_name(file) == name


def test_runs_and_qrels_are_what_people_have(tmp_path):
    file = tmp_path / "run.mine.txt.gz"
    lines = (f"{qid} Q0 {docid} 1 {score} t\n" for qid, hits in RUN.items() for docid, score in hits.items())
    file.write_bytes(gzip.compress("".join(lines).encode()))
    (tmp_path / "qrels").write_text("0001 0 NA 1\n2 0 b 2\n2 0 c 0\n")
    arrays = {qid: {docid: np.float32(score) for docid, score in hits.items()} for qid, hits in RUN.items()}
    for given, name in (
        (file, "mine"),
        (str(file), "mine"),
        ([file], "mine"),
        ({"a": file}, "a"),
        (RUN, "run"),
        (arrays, "run"),
        ({"a": RUN}, "a"),
    ):
        for qrels in (
            QRELS,
            str(tmp_path / "qrels"),
            {q: {d: np.int64(g) for d, g in j.items()} for q, j in QRELS.items()},
        ):
            comparison = evaluate(given, qrels, ["RR@10", "R@100"])
            assert [run.name for run in comparison.runs] == [name] and comparison.queries == 2
            assert comparison.runs[0].metrics == {"RR@10": 0.75, "R@100": 1.0}
    both = evaluate({"file": file, "scores": {"2": {"b": 1.0}}}, QRELS, ["RR"], "scores", {"file": 24})
    assert both.baseline == "scores" and both.runs[0].bytes_per_document == 24
    assert both.runs[1].missing == 1 and 0 < both.runs[0].p["RR"] <= 1


@pytest.mark.parametrize(
    ("given", "qrels", "error", "part"),
    [
        ([], QRELS, JPQError, "no run"),
        (["a/run.x.txt", "b/x.txt"], QRELS, JPQError, "several runs are named x"),
        ({"a": {"2": {"b": float("nan")}}}, QRELS, RunError, "a has a score for query '2' that is no finite number"),
        ({"a": {"2": {"b": "high"}}}, QRELS, RunError, "a is no run"),
        ({"a": {"3": {"b": 1.0}}}, QRELS, RunError, "a: no query of the run is in the qrels"),
        (RUN, {}, TopicsError, "empty"),
        (RUN, {"2": {}}, TopicsError, "empty"),
        (RUN, {"2": {"b": 0.5}}, TopicsError, "expected whole grades"),
        (RUN, {"2": {"b": 2**31}}, TopicsError, "a grade above"),
    ],
)
def test_what_cannot_be_is_one_line(given, qrels, error, part):
    with pytest.raises(error, match=part) as problem:
        evaluate(given, qrels)
    assert "\n" not in str(problem.value)


def test_the_example():
    assert doctest.testmod(runs).attempted and not doctest.testmod(runs).failed

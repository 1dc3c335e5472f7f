import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.data.run_writer import RunWriter, in_trec_order, trec_order
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.errors import RunError
from pyserini_jpq.evaluate.metrics import Metrics
from pyserini_jpq.evaluate.msmarco import reciprocal_rank

pytestmark = pytest.mark.unit


def hit(docid, score):
    return SimpleNamespace(docid=docid, score=score)


def write(path, qid, found, *words, **flags):
    with RunWriter(path, *words, **flags) as writer:
        writer.write(qid, found)
    return path.read_text(encoding="utf-8")


def test_equal_scores_go_by_docid_as_trec_eval_has_them():
    pairs = [("d1", 2.0), ("d9", 2.0), ("d10", 1.00000001), ("d2", 1.0), ("é", 1.0), ("a", 3.0)]
    ordered = in_trec_order(SimpleNamespace(docid=docid, score=score) for docid, score in pairs)
    assert [hit.docid for hit in ordered] == ["a", "d9", "d1", "é", "d2", "d10"]


def test_the_formats_of_pyserini(tmp_path):
    hits = [hit("d2#1", 2.5), hit("d2#0", 2.0), hit("d1#0", 1.0)]
    path = tmp_path / "runs" / "run.txt"
    assert write(path, "7", hits, hits=2, tag="mine") == "7 Q0 d2#1 1 2.500000 mine\n7 Q0 d2#0 2 2.000000 mine\n"
    assert write(path, "5%d", hits[:1], tag="50%") == "5%d Q0 d2#1 1 2.500000 50%\n" and write(path, "7", []) == ""
    assert write(path, "7", hits, "msmarco", max_passage=True, max_passage_hits=5) == "7\td2\t1\n7\td1\t2\n"
    text = write(path, "7", hits[:1], "kilt", topics={"7": {"id": "7"}})
    assert json.loads(text) == {"id": "7", "output": [{"provenance": [{"wikipedia_id": "d2#1"}]}]}
    with pytest.raises(RunError, match="no output format 'csv'"):
        RunWriter(path, "csv")


@pytest.mark.parametrize("delimiter", ["#", "_", "~", "-"])
def test_tied_documents_are_ordered_without_their_passages(tmp_path, delimiter):
    # With `_` or `~`, which sort above digits, D1 comes before D10 as long as the passages are there.
    hits = [hit(f"{docid}{delimiter}{i}", 1.5) for docid in ("10", "1", "2") for i in (0, 1)]
    flags = {"max_passage": True, "max_passage_delimiter": delimiter}
    write(tmp_path / "run.txt", "1", hits, **flags)
    assert write(tmp_path / "run.tsv", "1", hits, "msmarco", **flags) == "1\t2\t1\n1\t10\t2\n1\t1\t3\n"
    assert list(read_run(str(tmp_path / "run.txt"))["1"]) == ["2", "10", "1"]


@pytest.mark.property
@given(
    st.lists(st.tuples(st.text("01a", min_size=1, max_size=2), st.sampled_from([0, 1, 2])), max_size=30),
    st.lists(st.floats(-(2.0**33), 2.0**33, width=32), min_size=3, max_size=3),
    st.sampled_from([np.float32, np.float64]),
)
def test_the_order_is_that_of_the_scores_as_they_are_written(chosen, values, kind):
    near = [values[0], np.nextafter(np.float32(values[0]), np.float32(np.inf)), *values[1:]]
    docids, scores = [docid for docid, _ in chosen], np.array([near[i] for _, i in chosen], dtype=kind)
    keys = [(np.float32(f"{score:.6f}"), docid.encode()) for score, docid in zip(scores, docids, strict=True)]
    assert trec_order(docids, scores) == sorted(range(len(keys)), key=keys.__getitem__, reverse=True)


ids = st.text("01_#", min_size=1, max_size=4).filter(lambda text: text[0] not in "_#")
scored = st.dictionaries(ids, st.sampled_from([2.0, 1.0, 0.9999999, 16777216.0, 16777217.0]), min_size=1)


@pytest.mark.property
@given(scored, st.sampled_from("_#"), st.booleans(), st.data())
def test_reciprocal_ranks_are_those_of_trec_and_of_ms_marco(tmp_path_factory, scores, delimiter, max_passage, data):
    folder = tmp_path_factory.getbasetemp()
    flags = {"max_passage": max_passage, "max_passage_delimiter": delimiter}
    hits = [hit(docid, score) for docid, score in scores.items()]
    write(folder / "run.txt", "1", hits, **flags)
    write(folder / "run.tsv", "1", hits, "msmarco", **flags)
    run = read_run(str(folder / "run.txt"))
    relevant = data.draw(st.sampled_from(sorted(run["1"])))
    expected = Metrics(["RR@10"]).per_query({"1": {relevant: 1}}, run)["RR@10"][0]
    assert reciprocal_rank(folder / "run.tsv", {"1": {relevant}}, 10) == pytest.approx(expected)


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
def test_runs_are_utf8_whatever_the_locale(tmp_path, locale):
    code = (
        "import sys, types; from pyserini_jpq.data.run_writer import RunWriter\n"
        "with RunWriter(sys.argv[1]) as writer: writer.write('1', [types.SimpleNamespace(docid='\\u65e5', score=1.0)])"
    )
    off = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=True, env={**os.environ, **off}, timeout=300)
    assert read_run(str(tmp_path / "run")) == {"1": {"日": 1.0}}

"""The parts of a report that need no engine."""

import base64
import json
import mmap
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.compare import neighbours, tables, wins
from pyserini_jpq.compare.baselines.registry import named_baselines
from pyserini_jpq.compare.pages import Image, Text, as_html, as_markdown
from pyserini_jpq.compare.rows import Row
from pyserini_jpq.compare.scoring import compare_with, ranked, run_of, score, write_run
from pyserini_jpq.compare.timer import best_value, latency, resident_bytes
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.errors import JPQError
from pyserini_jpq.evaluate.metrics import Metrics
from pyserini_jpq.evaluate.table import Table, as_text
from pyserini_jpq.search.latency import summary

pytestmark = pytest.mark.unit


def test_the_largest_search_parameter_that_is_fast_enough():
    medians = {1: 0.5, 2: 0.9, 4: 1.0, 8: 1.7}
    assert best_value(medians, 1.0) == 4
    assert best_value(medians, 0.1) == 1
    assert best_value({1: 3.0, 2: 2.5}, 1.0) == 2


def test_times_are_summed_up():
    assert summary([5.0, 1.0, 3.0]) == {"median_ms": 3.0, "p99_ms": 5.0, "count": 3}
    assert summary([float(i) for i in range(1, 201)])["p99_ms"] == 198.0


def test_latency_counts_single_queries():
    seen = []
    taken = latency(lambda queries, k: seen.append((queries.shape, k)), np.zeros((3, 5), np.float32), 7, count=9)
    assert set(taken) == {"wall", "cpu"} and taken["wall"]["count"] == 9
    assert seen == [((1, 5), 7)] * 18
    assert 0 <= taken["wall"]["median_ms"] <= taken["wall"]["p99_ms"]


def test_resident_memory_grows_with_what_is_held():
    before = resident_bytes()
    if before is None:
        pytest.skip("this system does not say how much memory a process has")
    size = 20_000_000
    with mmap.mmap(-1, size) as held:  # not from the memory that Python keeps for its next objects
        held.write(b"x" * size)
        assert resident_bytes() - before > 0.8 * size


def test_hits_become_runs(tmp_path):
    found = {"scores": np.array([[2.0, 1.0, 0.0]], np.float32), "rows": np.array([[1, 0, -1]])}
    np.savez(tmp_path / "hits.npz", **found)
    run = run_of(tmp_path / "hits.npz", ["q"], ["a", "b"])
    assert run == {"q": {"b": 2.0, "a": 1.0}}
    write_run(tmp_path / "run.txt", run, "tag")
    assert read_run(str(tmp_path / "run.txt")) == run
    assert ranked({"a": 1.0, "b": 1.0, "c": 0.5}) == ["b", "a", "c"]


def rows_of(*tops):
    """Rows whose one hit of each of 30 queries is relevant where the pattern says so."""
    qrels = {f"q{i}": {"good": 1} for i in range(30)}
    rows = []
    for number, pattern in enumerate(tops):
        row = Row(f"r{number}", f"Row {number}", "index" if not number else "compressed", code_bytes=8)
        run = {qid: {"good" if pattern(i) else "bad": 1.0, "other": 0.5} for i, qid in enumerate(qrels)}
        score(row, run, qrels, Metrics(["RR@10"]))
        rows.append(row)
    return rows, qrels


def test_significance_is_against_the_first_row_and_corrected():
    rows, _ = rows_of(lambda i: True, lambda i: i % 2, lambda i: i > 1)
    compare_with(rows[0], rows)
    assert not rows[0].p and rows[1].p["RR@10"] < 0.001
    assert rows[1].p_holm["RR@10"] == pytest.approx(2 * rows[1].p["RR@10"])
    assert rows[2].p_holm["RR@10"] == rows[2].p["RR@10"]
    assert [tables.marks(p) for p in (None, 0.2, 0.049, 0.0099)] == ["", "", "*", "**"]
    table = tables.effectiveness(rows, ["RR@10"], 100)
    assert table.rows[1][6] == "0.5000**" and tables.tests(rows, ["RR@10"]).rows[0][0] == "Row 1"


def test_wins_and_losses():
    rows, qrels = rows_of(lambda i: i != 3, lambda i: i < 10)
    found = wins.differences(*rows, "RR@10", list(qrels))
    assert len(found) == 21 and found[-1].qid == "q3" and found[-1].gain == -1
    assert wins.counts(rows[0], rows, "RR@10", list(qrels)).rows == [["Row 1", "20", "9", "1"]]
    assert wins.shown_docids(rows[0], rows[1:], "RR@10", list(qrels)) == {"good", "bad"}
    blocks = wins.largest(*rows, "RR@10", {"q3": "a query"}, qrels, {"good": "a text"})
    losses = blocks[-1]
    firsts = ["bad (grade 0; none relevant of the first 2)", "good (grade 1; first relevant at 1): a text"]
    assert losses.rows == [["q3: a query", "0.0000", "1.0000", *firsts]]


def test_texts_are_cut_at_a_word(tmp_path):
    corpus = tmp_path / "c.jsonl"
    lines = [{"id": "a", "title": "T", "text": "word " * 90}, {"id": "b", "text": "short"}, {"id": "c", "text": "no"}]
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = wins.texts_of(corpus, {"a", "b"})
    assert set(texts) == {"a", "b"} and texts["b"] == "short"
    assert texts["a"].startswith("T: word") and texts["a"].endswith("word …") and len(texts["a"]) < 230
    assert wins.texts_of(None, {"a"}) == {}


def test_a_page_in_both_forms(tmp_path):
    (tmp_path / "p.png").write_bytes(b"\x89PNG of a figure")
    table = Table(["x_1|", "y"], [["1|2", "3*"], ["$x$", "[`"]])
    blocks = [Text("title", "A <b>"), table, Image("p.png", "seen"), Text("code", "a < b")]
    markdown, html = as_markdown(blocks), as_html(blocks, tmp_path)
    assert "| x\\_1\\| | y |" in markdown
    assert "| \\$x\\$ | \\[\\` |" in markdown
    assert "# A \\<b>" in markdown and "| 1\\|2 | 3\\* |" in markdown and "![seen](p.png)" in markdown
    assert "```\na < b\n```" in markdown
    assert "<h1>A &lt;b&gt;</h1>" in html and "a &lt; b" in html
    assert "<b>" not in html
    # One file is enough: the figure is in it, and nothing else is asked for.
    (picture,) = re.findall('<img src="data:image/png;base64,([^"]+)" alt="seen">', html)
    assert base64.b64decode(picture) == b"\x89PNG of a figure" and "p.png" not in html
    assert '<meta name="viewport" content="width=device-width' in html


@pytest.mark.property
@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_no_text_breaks_a_table(cells):
    table = Table(["run\nname", "x"], cells)
    assert len(as_text(table).split("\n")) == 1 + len(cells)
    lines = as_markdown([table]).rstrip("\n").splitlines()
    assert len(lines) == 2 + len(cells)
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in lines)
    page = as_html([Text("title", cells[0][0]), table], Path())
    assert page.count("<tr>") == 1 + len(cells) and page.count("<td") == 2 * len(cells)
    page.encode("utf-8")


def test_a_newline_in_what_is_shown_breaks_nothing():
    rows, qrels = rows_of(lambda i: i != 3, lambda i: i < 10)
    rows[1].title, rows[1].note = "two\nlines\x1b[31m", "a\rnote"
    blocks = wins.largest(*rows, "RR@10", {"q10": "a\nquery"}, qrels, {"good": "one\u2028text\n\n| b |"})
    blocks += [tables.effectiveness(rows, ["RR@10"], 100), Text("paragraph", "a\n\n# b"), Text("code", "a\n```\nb")]
    markdown = as_markdown(blocks)
    tabled = [block for block in blocks if isinstance(block, Table)]
    assert sum(line.startswith("|") for line in markdown.splitlines()) == sum(2 + len(t.rows) for t in tabled)
    assert "\n# b" not in markdown and markdown.count("```") == 2 and "\x1b" not in markdown
    assert "a query" in markdown and "one text | b |" in as_html(blocks, Path())


def test_sizes_say_what_does_not_grow_with_the_collection():
    rows, _ = rows_of(lambda i: True)
    rows[0].code_bytes, rows[0].disk_bytes, rows[0].resident_bytes = 24, 1_335_900, 12_300_000
    table = tables.effectiveness(rows, ["RR@10"], 3633)
    assert list(table.rows[0][:6]) == ["Row 0", "index", "24", "1.34 MB (1.25 MB)", "12.3 MB", "-"]


def test_each_document_is_shown_once():
    docids = [f"d{i}" for i in range(200)]
    hits = {"negatives of the compressed index": docids[:60], "negatives of the uncompressed index": docids[30:90]}
    kinds = neighbours.samples("q", {"q": {"d5": 1, "d40": 0, "gone": 1}}, hits, docids, 0)
    shown = [docid for listed in kinds.values() for docid in listed]
    assert len(shown) == len(set(shown)) and kinds["positives"] == ["d5"] and "d5" in shown
    assert kinds["negatives of the compressed index"] == [d for d in docids[:51] if d != "d5"]
    assert set(kinds["negatives of the uncompressed index"]) == set(docids[51:80])


def test_names_of_baselines():
    assert named_baselines("none") == ("flat",)
    assert named_baselines("pq, hnsw,flat") == ("flat", "pq", "hnsw")
    assert {"opq", "flann", "scann"} < set(named_baselines("all"))
    with pytest.raises(JPQError, match="pg"):
        named_baselines("pg")

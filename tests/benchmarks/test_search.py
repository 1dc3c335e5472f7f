import json

import numpy as np
import pytest

from benchmarks import search
from benchmarks.measure import recall
from pyserini_jpq import cli
from pyserini_jpq.scan import available


@pytest.mark.integration
def test_engines_agree_and_figures_are_written(tmp_path, capsys):
    flags = ["--documents", "3000", "--m", "4", "--dimension", "32", "--hits", "5", "--queries", "3", "--rounds", "2"]
    files = ["--json", str(tmp_path / "x.json"), "--figure", str(tmp_path / "figures" / "x.png")]
    assert cli.run(search.main, [*flags, *files]) == 0
    rows = {row["engine"]: row for row in json.loads((tmp_path / "x.json").read_text())["rows"]}
    assert rows["IndexPQ"]["speedup"] == 1 and rows["IndexPQ"]["recall"] == 1
    assert ("ours" in rows) == available()
    assert all(row["milliseconds"] > 0 and row["floors"] > 0 for row in rows.values())
    for name in ("ours", "flat", "ours, 4 bits"):
        assert rows.get(name, {"recall": 1.0})["recall"] > 0.99
    assert (tmp_path / "figures" / "x.png").read_bytes().startswith(b"\x89PNG")
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(rows)
    assert cli.run(search.main, [*flags, "--engines", "flat"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["engine", "IndexPQ", "flat"]


@pytest.mark.unit
@pytest.mark.parametrize(
    "flags", [["--m", "7"], ["--clock", "cpu", "--threads", "1", "2"], ["--documents", "9", "--engines", "abacus"]]
)
def test_what_cannot_be_is_one_line(flags, capsys):
    assert cli.run(search.main, flags) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.unit
def test_recall_counts_over_queries():
    assert recall(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 9]])) == 0.75

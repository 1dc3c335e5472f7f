import pytest

from benchmarks import threads
from pyserini_jpq import cli


@pytest.mark.unit
def test_a_row_for_each_machine_and_policy(monkeypatch, capsys):
    asked = []

    def seconds(policy, documents, rounds):
        asked.append((policy, documents, rounds))
        return {"kmeans": 0.5 * len(asked), "encode": 2.0}

    monkeypatch.setattr(threads, "seconds", seconds)
    assert cli.run(threads.main, ["--documents", "9", "--rounds", "2", "--repeat", "3", "--busy", "0"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [["quiet", "spin"], ["quiet", "sleep"], ["busy", "spin"], ["busy", "sleep"]]
    assert [row[2] for row in rows] == ["1.50", "2.00", "4.50", "5.00"]  # medians of turns
    assert asked[:2] == [("spin", 9, 2), ("sleep", 9, 2)] and len(asked) == 12


@pytest.mark.integration
def test_the_policy_reaches_the_process(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "ACTIVE")
    monkeypatch.setattr(
        threads, "_CHILD", "import json, os; print(json.dumps({'x': os.environ.get('OMP_WAIT_POLICY')}))"
    )
    assert threads.seconds("spin", 1, 1) == {"x": None}
    assert threads.seconds("sleep", 1, 1) == {"x": "PASSIVE"}

"""An experiment on the tiny collection: verdicts, the page, the log, and going on after a failure."""

import json
import re

import pytest
import yaml

from pyserini_jpq.errors import ExperimentError, RunError
from pyserini_jpq.reproduce.experiment import experiment_names, read_experiment
from pyserini_jpq.reproduce.scores import verdict
from tests.conftest import run

SEARCH = "python rank.py $rank $topics $output"
METRICS = {"nDCG@10": "-c -m ndcg_cut.10", "RR@10": "-c -M 10 -m recip_rank"}
# Ranks the one relevant document of every query third, or wherever the first argument says.
RANK = """\
import sys
rank, topics, output = int(sys.argv[1]), *sys.argv[2:]
with open(output, "w") as run:
    for line in open(topics):
        qid = line.split()[0]
        for i in range(1, 6):
            run.write(f"{qid} Q0 {f'd{qid}' if i == rank else f'x{i}'} {i} {9 - i}.5 t\\n")
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Write an experiment; returns a function that writes it with other conditions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rank.py").write_text(RANK)
    (tmp_path / "topics.tsv").write_text("1\tone\n2\ttwo\n")
    (tmp_path / "qrels.txt").write_text("1 0 d1 1\n2 0 d2 1\n")

    def write(conditions, **changes):
        fields = {
            "title": "Tiny",
            "description": "A tiny collection.",
            "page": "docs/tiny.md",
            "settings": {"rank": 3, "where": "."},
            "needs": ["$where/topics.tsv"],
            "topics": {"dev": {"topics": "topics.tsv", "qrels": "qrels.txt", "official": 10, "metrics": METRICS}},
            "conditions": conditions,
        }
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**fields, **changes}, sort_keys=False))
        return tmp_path / "tiny.yaml"

    return write


@pytest.mark.integration
def test_rows_scores_verdicts_page_and_log(experiment, tmp_path, capsys):
    touch = "python -c 'import sys; open(sys.argv[1], \"w\").close()' $partial"
    row = {"display": "OPQ", "command": SEARCH, "bytes": "4"}
    conditions = {"opq": {**row, "steps": [{"output": "made", "command": touch}]}, "other": {**row, "display": "Other"}}
    path = experiment(conditions)
    assert run("reproduce", "--any-command", path, "--condition", "opq", "--page", "docs/tiny.md", "--log") == 0
    out = capsys.readouterr().out
    assert re.search(r"nDCG@10 +0\.5000", out) and re.search(r"RR@10 +0\.3333", out)
    assert "1 of 2 rows: 2 new" in out and (tmp_path / "made").is_file()
    page = (tmp_path / "docs" / "tiny.md").read_text()
    assert "| OPQ | 4 | .5000 | .3333 | " in page and "| Other | 4 |  |  | not run |" in page
    assert page.count("## Reproduction log") == 1 and page.rstrip().splitlines()[-1].startswith("- 20")
    runs = json.loads((tmp_path / "runs" / "tiny" / "times.json").read_text())
    assert set(runs) == {"made", "runs/tiny/run.opq.dev.txt"}

    # With scores to compare with, and the run that is there already: nothing is searched again.
    conditions["opq"]["scores"] = {"dev": {"nDCG@10": 0.5, "RR@10": 0.5}}
    conditions["opq"]["command"] = "no-such-command"
    conditions["other"]["scores"] = {"dev": {"nDCG@10": 0.4, "RR@10": 0.3337}}
    (tmp_path / "docs" / "tiny.md").write_text("# Mine\n\nbefore\n\n" + page.partition("\n")[2] + "after\n")
    assert run("reproduce", "--any-command", experiment(conditions), "--page", "docs/tiny.md", "--log") == 2
    captured = capsys.readouterr()
    assert "error: not as expected: opq dev RR@10" in captured.err
    assert "1 OK, 2 OKish, 1 FAIL" in captured.out
    again = (tmp_path / "docs" / "tiny.md").read_text()
    assert again.startswith("# Mine\n\nbefore\n") and again.count("<!-- begin tiny -->") == 1
    assert "| OPQ | 4 | .5000 | .3333 FAIL, expected .5000 |" in again
    assert "| .5000 OKish, expected .4000 | .3333 OKish, expected .3337 |" in again
    assert again.count("\n- 20") == 2

    # A row that is run alone leaves the others on the page as they were.
    assert run("reproduce", "--any-command", path, "--condition", "other", "--page", "docs/tiny.md", "--overwrite") == 0
    assert "| OPQ | 4 | .5000 | .3333 FAIL" in (tmp_path / "docs" / "tiny.md").read_text()


@pytest.mark.integration
def test_one_row_fails_the_others_are_run(experiment, tmp_path, capsys):
    quiet = {"display": "quiet", "command": "python -c pass"}
    conditions = {
        "missing": {"display": "x", "command": "no-such-command $output $topics"},
        "fails": {"display": "y", "command": "python -c 'import sys; sys.exit(3)'"},
        "quiet": quiet,
        "step": {**quiet, "steps": [{"output": "never", "command": "python -c pass"}]},
        "opq": {"display": "OPQ", "command": SEARCH},
    }
    assert run("reproduce", "--any-command", experiment(conditions)) == 2
    captured = capsys.readouterr()
    assert "error: not finished: missing, fails, quiet, step" in captured.err
    for part in ("no command 'no-such-command'", "ended with status 3", "wrote no run", "there is no never"):
        assert part in captured.err
    assert "opq\n  dev" in captured.out
    assert [p.name for p in sorted((tmp_path / "runs" / "tiny").iterdir())] == [
        "results.json",
        "run.opq.dev.txt",
        "times.json",
    ]


@pytest.mark.integration
def test_evaluators_that_do_not_agree_are_named(experiment, tmp_path):
    from pyserini_jpq.reproduce.scores import evaluate

    topics = read_experiment(str(experiment({}))).topics["dev"]
    # Equal scores: trec_eval puts "zzz" first, the ranks say otherwise.
    (tmp_path / "run.txt").write_text("1 Q0 d1 1 1.0 t\n1 Q0 zzz 2 1.0 t\n")
    with pytest.raises(RunError, match=r"by pytrec_eval but .* by MS MARCO's rules"):
        evaluate(tmp_path / "run.txt", topics)


@pytest.mark.unit
def test_commands_are_printed_and_settings_replaced(experiment, capsys):
    path = experiment({"opq": {"display": "OPQ", "command": SEARCH}})
    assert run("reproduce", path, "--dry-run", "--set", "rank=2") == 0
    assert "rank.py 2 $topics" in capsys.readouterr().out
    assert run("reproduce", path, "--list") == 0 and "opq" in capsys.readouterr().out
    assert run("reproduce", "--list") == 0
    assert set(capsys.readouterr().out.split()) == set(experiment_names())
    for words, part in (
        ((path, "--set", "colour=red"), "no setting colour"),
        ((path, "--set", "colour"), "expected NAME=VALUE"),
        ((path, "--set", "where=/nowhere"), "needs /nowhere/topics.tsv"),
        ((path, "--condition", "flat"), "no row flat"),
        (("no-such-experiment",), "there are msmarco"),
        ((), "name an experiment"),
    ):
        assert run("reproduce", "--any-command", *words) == 2
        assert part in capsys.readouterr().err


@pytest.mark.unit
@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"colour": 1}, "unknown field 'colour'"),
        ({"title": None, "conditions": {"a": {"display": "A"}}}, "field 'command' is missing"),
        ({"conditions": {"a": {"display": "A", "command": "x", "steps": 1}}}, "steps are a list"),
        ({"conditions": {"a": {"display": "A", "command": "x", "scores": {"test": {}}}}}, "unknown topics test"),
        ({"conditions": {"a": {"display": "A", "command": "x", "scores": {"dev": {"P@5": 1}}}}}, "no metric P@5"),
        ({"conditions": [1]}, "expected fields and values"),
    ],
)
def test_bad_files_are_refused(experiment, changes, part):
    with pytest.raises(ExperimentError, match=part):
        read_experiment(str(experiment(**{"conditions": {}, **changes})))


@pytest.mark.unit
def test_no_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(ExperimentError, match="no YAML"):
        read_experiment(str(tmp_path / "a.yaml"))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("value", "expected", "result"),
    [
        (0.1840, 0.184, "OK"),
        (0.18404, 0.184, "OK"),
        (0.1836, 0.184, "OKish"),
        (0.1834, 0.184, "FAIL"),
        (0.9, 0.184, "OKish"),
        (0.9, None, "new"),
    ],
)
def test_verdicts_are_pyserinis(value, expected, result):
    assert verdict(value, expected, 0.0005) == result


@pytest.mark.unit
@pytest.mark.parametrize("name", experiment_names())
def test_the_experiments_of_the_package(name):
    from pyserini_jpq.evaluate.metrics import Metrics

    experiment = read_experiment(name)
    assert list(experiment.topics) == ["dev", "dl19", "dl20"] and experiment.page.startswith("docs/experiments/")
    for topics in experiment.topics.values():
        Metrics(list(topics.metrics))
    for m in (16, 24, 32, 48, 64, 96):
        assert experiment.conditions[f"jpq-m{m}"].bytes == str(m)
    assert {"bm25-default", "bm25-tuned", "flat"} <= set(experiment.conditions)
    for condition in experiment.conditions.values():
        assert condition.command.count("$topics") == condition.command.count("$output") == 1
        words = [condition.command, *(step.command for step in condition.steps)]
        assert all(word.startswith("python -m pyserini") for word in words)


@pytest.mark.integration
def test_a_collection_as_lucene_reads_it(tiny_collection, tmp_path):
    flags = ("--corpus", tiny_collection / "documents.jsonl", "--output", tmp_path / "c")
    from pyserini_jpq import cli
    from pyserini_jpq.reproduce.lucene_corpus import main

    assert cli.run(main, [str(word) for word in flags]) == 0
    first = json.loads((tmp_path / "c" / "documents.jsonl").read_text().splitlines()[0])
    assert first["id"] == "d0" and "\n" in first["contents"]
    assert cli.run(main, [str(word) for word in flags]) == 2

import json
import random

import pytest

from tests.conftest import run

pytestmark = pytest.mark.unit


@pytest.fixture
def files(tmp_path):
    chance = random.Random(3)
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("".join(f"q{i} 0 d{j} {j % 3}\n" for i in range(20) for j in range(5)))
    for name, noise in (("a", 4.0), ("b", 1.0)):
        lines = []
        for i in range(20):
            scores = {f"d{j}": (j % 3) + chance.gauss(0, noise) for j in range(9)}
            ranked = sorted(scores, key=lambda d: -scores[d])
            lines += [f"q{i} Q0 {d} {r} {scores[d]:.6f} t\n" for r, d in enumerate(ranked, 1)]
        (tmp_path / f"run.{name}.txt").write_text("".join(lines))
    (tmp_path / "run.b.txt.json").write_text(json.dumps({"bytes_per_document": 24}))
    return tmp_path


def test_every_form_says_the_same(files, capsys):
    pytest.importorskip("adjustText")
    words = ("--qrels", files / "qrels.txt", files / "run.a.txt", files / "run.b.txt", "--bytes", "a=96")
    outputs = ("--json", files / "out.json", "--figure", files / "out.png")
    assert run("evaluate", *words, *outputs) == 0
    text = capsys.readouterr().out
    runs = {r["run"]: r for r in json.loads((files / "out.json").read_text())["runs"]}
    assert set(runs) == {"a", "b"} and runs["b"]["bytes_per_document"] == 24
    assert runs["b"]["metrics"]["nDCG@10"] > runs["a"]["metrics"]["nDCG@10"]
    for entry in runs.values():
        assert all(f"{value:.4f}" in text for value in entry["metrics"].values())
    assert (files / "out.png").read_bytes().startswith(b"\x89PNG")
    assert run("evaluate", *words, "--format", "markdown") == 0
    assert "| b" in capsys.readouterr().out
    assert run("evaluate", *words, "--format", "json") == 0
    assert {r["run"] for r in json.loads(capsys.readouterr().out)["runs"]} == {"a", "b"}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--metrics", "nonsense@3"), "nonsense@3"),
        (("--baseline", "nobody"), "nobody"),
        (("--bytes", "a"), "a"),
    ],
)
def test_wrong_words_are_one_line(files, capsys, words, part):
    assert run("evaluate", "--qrels", files / "qrels.txt", files / "run.a.txt", *words) == 2
    err = capsys.readouterr().err
    assert part in err and "Traceback" not in err and err.count("error:") == 1


def test_missing_and_foreign_runs(files, capsys):
    assert run("evaluate", "--qrels", files / "qrels.txt", files / "absent.txt") == 2
    assert "absent.txt" in capsys.readouterr().err
    (files / "foreign.txt").write_text("other Q0 d1 1 2.0 t\n")
    assert run("evaluate", "--qrels", files / "qrels.txt", files / "foreign.txt") == 2


def test_report_is_a_command_of_its_own_now(monkeypatch, capsys):
    from pyserini_jpq.compare import __main__ as compare

    passed = []
    monkeypatch.setattr(compare, "main", passed.append)
    assert run("evaluate", "--qrels", "q", "--report", "folder", "--bm25", "b") == 0
    assert run("evaluate", "--qrels", "q", "--rep=folder", "a.txt") == 0
    assert passed == [
        ["--qrels", "q", "--output", "folder", "--bm25", "b"],
        ["--qrels", "q", "--output=folder", "a.txt"],
    ]
    assert capsys.readouterr().err.count("python -m pyserini_jpq.compare") == 2
    for words, part in ((("--hits", 5), "only with --report"), (("--nonsense",), "unrecognized arguments: --nonsense")):
        assert run("evaluate", "--qrels", "q", "a.txt", *words) == 2 and part in capsys.readouterr().err


def test_a_newline_in_a_name_breaks_no_table(files, capsys):
    words = ("--qrels", files / "qrels.txt", f"two\nlines|={files / 'run.a.txt'}", f"b={files / 'run.b.txt'}")
    assert run("evaluate", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("two lines|") and lines[2].startswith("b ") and lines[3] == ""
    assert run("evaluate", *words, "--format", "markdown") == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| two lines\\| |")

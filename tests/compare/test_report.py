"""The whole report, on the tiny collection."""

import contextlib
import json
import shutil

import numpy as np
import pytest

from pyserini_jpq.errors import how_to_install
from tests.conftest import run
from tests.processes import forked, killed_at_each_step

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def words(built, tiny_collection):
    flags = ("compare", "--embeddings", built / "embeddings", "--index", built / "x.jpq-m4", built / "x.opq-m4")
    data = ("--topics", tiny_collection / "topics.dev.tsv", "--qrels", tiny_collection / "qrels.dev.txt")
    return *flags, *data, "--hits", 50, "--metrics", "nDCG@10", "R@50", "--clock", "cpu"


@pytest.fixture
def in_process(monkeypatch):
    """Let steps run here: the whole report shows that they run in processes of their own."""
    from pyserini_jpq.compare import measuring, worker

    monkeypatch.setattr(measuring, "run_step", lambda task, file: worker.STAGES[task["stage"]](task))


def test_the_whole_report(words, built, tiny_collection, tmp_path, capsys, monkeypatch):
    from pyserini_jpq.compare.baselines import registry

    missing = f"needs annoy: {how_to_install('baselines')}"
    monkeypatch.setattr(
        registry.Engine, "missing", lambda self: missing if self.module == "annoy" else None, raising=True
    )
    bm25 = tmp_path / "run.bm25.txt"
    search = ("search", "--topics", tiny_collection / "topics.dev.tsv", "--hits", 50)
    assert run(*search, "--index", built / "x.opq-m4", "--output", bm25) == 0
    folder = tmp_path / "report"
    more = ("--baselines", "pq,hnsw,annoy,flann,dpq", "--bm25", bm25, "--run", f"mine={bm25}")
    train = (
        "--train-topics",
        tiny_collection / "topics.train.tsv",
        "--train-qrels",
        tiny_collection / "qrels.train.txt",
    )
    more = (*more, *train)
    more = (*more, "--corpus", tiny_collection / "documents.jsonl")
    assert run(*words, "--output", folder, *more) == 0
    results = json.loads((folder / "results.json").read_text())
    rows = {row["name"]: row for row in results["rows"]}
    assert list(rows)[:6] == ["x.jpq-m4", "x.opq-m4", "flat", "pq", "hnsw", "annoy"]
    assert rows["annoy"]["note"] == missing and not rows["annoy"]["measured"]
    assert "no maintained package" in rows["flann"]["note"]
    assert rows["flat"]["code_bytes"] == 128 and rows["flat"]["disk_bytes"] >= 300 * 128
    assert rows["dpq"]["measured"] and rows["dpq"]["code_bytes"] == 4
    assert {"x.jpq-m4": "JPQ", "x.opq-m4": "OPQ"}.items() <= {n: row["family"] for n, row in rows.items()}.items()
    assert rows["pq"]["code_bytes"] == rows["x.jpq-m4"]["code_bytes"] == 4
    assert rows["hnsw"]["effort"] in [tried["effort"] for tried in rows["hnsw"]["efforts"]]
    assert rows["mine"]["metrics"] == pytest.approx(rows["x.opq-m4"]["metrics"], abs=0.003)
    assert sum("BM25" in name for name in rows) == 2
    for row in rows.values():
        if row["measured"]:
            mean = sum(row["per_query"]["nDCG@10"]) / len(results["qids"])
            assert row["metrics"]["nDCG@10"] == pytest.approx(mean)
            assert (row["p"] == {}) == (row["name"] == "x.jpq-m4")
    markdown, html = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    for row in rows.values():
        assert all(f"{value:.4f}" in markdown and f"{value:.4f}" in html for value in row["metrics"].values())
    pictures = sorted(file.name for file in folder.glob("*.png"))
    assert {"bytes-1.png", "latency-1.png", "effort-1.png", "bytes-2.png"} < set(pictures)
    assert all(f"({name})" in markdown for name in pictures)
    # One file to mail: it holds every figure.
    assert html.count('<img src="data:image/png;base64,') == len(pictures) and ".png" not in html
    assert not (folder / "work").exists() and not list(tmp_path.glob(".report*"))
    assert (folder / "runs" / "run.x.jpq-m4.txt").is_file()
    capsys.readouterr()
    assert run(*words, "--output", folder) == 2 and "--overwrite" in capsys.readouterr().err


def test_goes_on_where_it_stopped(words, built, tmp_path, capsys, monkeypatch, in_process):
    from pyserini_jpq.compare import measuring

    folder, whole = tmp_path / "report", measuring.run_step

    def stops_at_pq(task, file):
        if task.get("engine") == "pq":
            raise KeyboardInterrupt
        whole(task, file)

    monkeypatch.setattr(measuring, "run_step", stops_at_pq)
    one = list(words)
    one.remove(built / "x.opq-m4")
    assert run(*one, "--output", folder, "--baselines", "pq") == 130
    assert not folder.exists()
    done = []
    monkeypatch.setattr(measuring, "run_step", lambda task, file: (done.append(task.get("engine")), whole(task, file)))
    # The command as it was called before.
    assert run("evaluate", *words[1:], f"--report={folder}", "--baselines", "pq") == 0
    # The index that is new, and what was not measured; the others do not depend on it.
    err = capsys.readouterr().err
    assert done == ["index", "pq", "pq"] and "flat: measured before" in err
    assert err.count("python -m pyserini_jpq.compare --output") == 1
    assert (folder / "report.md").is_file() and "pyserini_jpq.compare" in (folder / "report.md").read_text()
    assert not list(tmp_path.glob(".report*"))


def test_killed_again_and_again_it_goes_on_to_the_same_report(words, built, tmp_path, monkeypatch, in_process):
    from pyserini_jpq.compare import charts, neighbours, worker
    from pyserini_jpq.compare.timer import TIMERS
    from pyserini_jpq.files import partial_folder

    taken = {timer: {"median_ms": 2.0, "p99_ms": 3.0, "count": 9} for timer in TIMERS}
    for name, value in (("latency", taken), ("measured", taken), ("resident_bytes", None)):
        monkeypatch.setattr(worker, name, lambda *_, value=value: value)
    for module, name in ((charts, "draw_all"), (neighbours, "draw")):
        monkeypatch.setattr(module, name, lambda *_: [])
    flags = [word for word in words if word != built / "x.opq-m4"] + ["--baselines", "none"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*flags, "--output", whole) == 0
    partial, seen = partial_folder(killed), {}
    for _ in killed_at_each_step(lambda: run(*flags, "--output", killed), every=3):
        if killed.exists() or (partial / "report.md").exists():
            continue  # all rows were measured: what is left of them is being removed
        rows = {file.name: file.stat().st_mtime_ns for file in partial.glob("work/rows/*.json")}
        assert seen.items() <= rows.items()  # no row is lost or measured again
        seen = rows
    assert seen.keys() >= {"x.jpq-m4.json"}
    results = [json.loads((folder / "results.json").read_text()) for folder in (whole, killed)]
    for result in results:
        assert result.pop("command") and result.pop("machine")  # which says how busy it is
        assert [row.pop("build_seconds") for row in result["rows"]]
    assert results[0] == results[1] and len(results[0]["rows"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "whole"]
    names = [sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) for folder in (whole, killed)]
    assert names[0] == names[1]


def test_one_run_at_a_time(words, tmp_path):
    from pyserini_jpq.locks import exclusive

    (tmp_path / "here").mkdir()

    def other():
        with open(tmp_path / "said", "w") as said, contextlib.redirect_stderr(said):
            return run(*words, "--output", tmp_path / "here" / "report", "--baselines", "none")

    with exclusive(tmp_path / "here" / "report"):
        assert forked(other) == 2
    assert "report is being written by process" in (tmp_path / "said").read_text()
    assert not list((tmp_path / "here").iterdir())


def test_an_engine_that_fails_is_a_row(words, tmp_path, in_process):
    from pyserini_jpq.compare.rows import Row

    # RaBitQ keeps 8 bytes beside its bits, and the index has codes of 4.
    assert run(*words, "--output", tmp_path / "report", "--baselines", "rabitq,dpq", "--faiss-device", "cpu") == 0
    rows = json.loads((tmp_path / "report" / "results.json").read_text())["rows"]
    failed, untaught, ours, flat = (Row.from_dict(row) for row in rows[-4:])
    # On a device of torch's, which is the CPU here, both find what they find elsewhere.
    assert (ours.name, flat.name) == ("x.jpq-m4, cpu", "Flat, cpu")
    assert ours.metrics == pytest.approx(rows[0]["metrics"], abs=1e-6)
    assert flat.metrics == pytest.approx(rows[2]["metrics"], abs=1e-6) and flat.latency
    assert not untaught.measured and "--train-topics" in untaught.note
    assert failed.name == "rabitq" and not failed.measured and "RaBitQ keeps 8 bytes" in failed.note


def test_what_cannot_be_is_one_line(words, built, tiny_collection, tmp_path, capsys):
    from tests.conftest import make_embeddings

    few = make_embeddings(tmp_path / "few", np.ones((9, 32), np.float32), [f"d{i}" for i in range(9)])
    report = ("--output", tmp_path / "report")
    (tmp_path / "qrels.txt").write_text("q64 0 gone 1\n")
    dev = ("--train-topics", tiny_collection / "topics.dev.tsv", "--train-qrels", tmp_path / "qrels.txt")
    for more, part in (
        ((*report, "--baselines", "pg"), "pg"),
        ((*report, "--metrics", "R@1000"), "--hits is 50"),
        ((*report, "--metrics", "nonsense"), "nonsense"),
        ((*report, "--run", "absent.txt"), "absent.txt"),
        ((*report, "--bm25", "absent.txt"), "absent.txt"),
        ((*report, "--corpus", "absent"), "absent"),
        ((*report, "--train-topics", "absent.tsv", "--train-qrels", "absent.txt"), "absent.tsv"),
        ((*report, *dev), "no training query"),
        ((*report, "--faiss-device", "cuda:99"), "cannot be used here"),
        ((*report, "--train-qrels", tiny_collection / "qrels.dev.txt"), "go together"),
        ((*report, "--index", "absent/x"), "absent/x"),
        ((*report, "--embeddings", few), "same collection"),
        (("evaluate", "--report", tmp_path / "report", "--json", "x.json"), "results.json"),
        (("evaluate",), "only with --report"),
    ):
        old = more[:1] == ("evaluate",)
        assert (run("evaluate", *words[1:], *more[1:]) if old else run(*words, *more)) == 2, part
        err = capsys.readouterr().err
        assert part in err and "Traceback" not in err and err.count("error:") == 1
    assert not (tmp_path / "report").exists()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("precious")
    assert run(*words, *report, "--overwrite") == 2 and "something else" in capsys.readouterr().err
    assert run("compare", "--qrels", tiny_collection / "qrels.dev.txt", *report) == 2
    assert "needs --embeddings, --topics, --index" in capsys.readouterr().err


def test_an_index_with_vectors_has_a_row_more(words, built, tmp_path, in_process):
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.index.folder import IndexFolder
    from pyserini_jpq.index.vectors import keep_vectors

    index = shutil.copytree(built / "x.opq-m4", tmp_path / "indexes" / "x.opq-m4")
    keep_vectors(IndexFolder(index), "float16", Embeddings(built / "embeddings"))
    words = [index if word == built / "x.opq-m4" else word for word in words if word != built / "x.jpq-m4"]
    assert run(*words, "--output", tmp_path / "report", "--baselines", "flat", "--rescore", 300) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "report" / "results.json").read_text())["rows"]}
    codes, rescored = rows["x.opq-m4"], rows["x.opq-m4, 300 rescored"]
    assert rescored["code_bytes"] == codes["code_bytes"] + 64 and rescored["note"] == "64 of the bytes stay on disk"
    assert rescored["disk_bytes"] - codes["disk_bytes"] == (index / "vectors").stat().st_size
    assert rescored["metrics"] == pytest.approx(rows["flat"]["metrics"], abs=0.003)  # all documents are scored again

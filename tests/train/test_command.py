"""Every choice of the command trains, on the tiny collection, and leaves what it says."""

import importlib.util
import json
import shutil

import numpy as np
import pytest

from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.folder import IndexFolder
from tests.conftest import run

pytestmark = pytest.mark.integration


@pytest.fixture
def train(built, tiny_collection, tmp_path):
    """Train into the test's own folder, with labels unless told otherwise, and return the index folder."""

    def command(*words, labels=True, index=built / "x.opq-m4", status=0):
        output = tmp_path / "x"
        base = ["--index", index, "--output", output, "--output-encoder", tmp_path / "enc", "--device", "cpu"]
        base += ["--topics", tiny_collection / "topics.train.tsv", "--epochs", 2, "--num-negatives", 20]
        base += ["--qrels", tiny_collection / "qrels.train.txt"] if labels else []
        assert run("train", *base, *words) == status
        return IndexFolder(output) if status == 0 else None

    return command


def centroids(folder):
    index = read_faiss(folder.path / "index")
    return from_faiss(index, "index")[0].centroids


def recipe(folder):
    return folder.manifest.training["recipe"]


@pytest.mark.parametrize("loss", ["lambda-rr", "lambda-ndcg", "ranknet", "hinge", "listwise"])
def test_losses_that_learn_from_labels(train, built, loss):
    folder = train("--loss", loss, "--distill-weight", 0)
    assert recipe(folder)["loss"] == loss
    assert not np.array_equal(centroids(folder), centroids(IndexFolder(built / "x.opq-m4")))
    assert folder.manifest.query_encoder["sha256"] != folder.manifest.document_encoder["sha256"]


def test_distillation_needs_topics_alone(train, capsys):
    folder = train("--loss", "distill", labels=False)
    assert folder.manifest.training["judgements"] == 0 and folder.manifest.training["queries"] == 64
    assert "64 queries, 300 documents" in capsys.readouterr().err
    lines = [json.loads(line) for line in (folder.path / "training.jsonl").open()]
    assert {"step", "loss", "lr", "centroid_lr", "encode_ms", "search_ms", "loss_ms", "update_ms"} <= set(lines[-1])


def test_margin_mse_learns_from_a_file(train, tmp_path):
    scores = tmp_path / "scores.txt"
    scores.write_text("".join(f"q{i} d{j} {10.0 * (i == j)}\n" for i in range(64) for j in (i, i + 1, i + 70)))
    assert recipe(train("--loss", "margin-mse", "--scores", scores, labels=False))["loss"] == "margin-mse"
    train("--loss", "margin-mse", status=2)
    scores.write_text("q1 nowhere 1\n")
    train("--loss", "margin-mse", "--scores", scores, "--overwrite", "--no-resume", status=2)


@pytest.mark.parametrize(
    "words",
    [
        ("--negatives", "static"),
        ("--negatives", "brute-force"),
        ("--negatives", "random"),
        ("--search-every", "3"),
        ("--in-batch-negatives", "yes"),
        ("--false-negatives", "0"),
        ("--distill-weight", "0.5"),
        ("--dtype", "bfloat16"),
        ("--gradient-checkpointing",),
        ("--accumulate", "5"),
    ],
)
def test_switches(train, built, words):
    folder = train(*words)
    assert not np.array_equal(centroids(folder), centroids(IndexFolder(built / "x.opq-m4")))


def test_the_ablation_of_the_paper(train, built):
    """Frozen centroids stay; with the original embeddings' scores the index has a part in the negatives alone."""
    before = centroids(IndexFolder(built / "x.opq-m4"))
    for words in (("--loss-scores", "original", "--train-centroids", "no"), ("--train-centroids", "no")):
        folder = train(*words, "--overwrite")
        assert np.array_equal(centroids(folder), before)
        assert folder.manifest.query_encoder["sha256"] != folder.manifest.document_encoder["sha256"]
    folder = train("--train-encoder", "no", "--overwrite")
    assert not np.array_equal(centroids(folder), before)
    assert folder.manifest.query_encoder["sha256"] == folder.manifest.document_encoder["sha256"]


def test_early_stopping_writes_the_best(train, tiny_collection):
    dev = ("--dev-topics", tiny_collection / "topics.dev.tsv", "--dev-qrels", tiny_collection / "qrels.dev.txt")
    folder = train(*dev, "--dev-metric", "RR@10", "--eval-every", 1, "--patience", 2, "--lr", 0.5, "--epochs", 50)
    history = [h["dev"] for h in folder.manifest.training["history"]]
    assert folder.manifest.training["steps"] == len(history) - 1 < 100
    assert len(history) - 1 - int(np.argmax(history)) == 2 and folder.manifest.training["dev_metric"] == "RR@10"


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard(train, tmp_path):
    train("--tensorboard", tmp_path / "board")
    assert list((tmp_path / "board").glob("events.*"))


def test_what_needs_embeddings_says_so(train, built, tmp_path, capsys):
    moved = tmp_path / "elsewhere" / "x.opq-m4"
    shutil.copytree(built / "x.opq-m4", moved)
    for words in (("--loss", "distill"), ("--negatives", "brute-force"), ("--loss-scores", "original")):
        train(*words, index=moved, status=2)
        assert "needs the uncompressed embeddings; give their folder with --embeddings" in capsys.readouterr().err
    train("--loss", "distill", "--embeddings", tmp_path / "nowhere", index=moved, status=2)
    train("--loss", "distill", "--embeddings", built / "embeddings", index=moved)
    assert recipe(train("--overwrite", index=moved))["distill_weight"] == 0.0, "without embeddings there is no teacher"


def test_embeddings_of_other_documents_are_refused(train, built, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(built / "embeddings", other)
    docids = next(other.glob("*.docid"))
    docids.write_text(docids.read_text().replace("d17\n", "d17x\n"))
    train("--loss", "distill", "--embeddings", other, status=2)
    assert "does not hold the embeddings of the documents" in capsys.readouterr().err


def test_requests_that_do_not_go_together(train, built, tmp_path, capsys):
    train(labels=False, status=2)
    assert "learns from labels: give --qrels" in capsys.readouterr().err
    train("--output-encoder", tmp_path / "x", status=2)
    assert "--output-encoder is --output" in capsys.readouterr().err
    train("--output-encoder", built / "x.opq-m4", "--overwrite", status=2)
    assert "--output-encoder is --index" in capsys.readouterr().err and (built / "x.opq-m4" / "index").is_file()

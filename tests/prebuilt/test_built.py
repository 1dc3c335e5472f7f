"""Training alone: collection, topics and qrels are fetched, the collection encoded, an OPQ index built and trained."""

import json

import pytest

from tests.conftest import make_encoder, run
from tests.prebuilt.conftest import tarred
from tests.publisher import Published

pytestmark = pytest.mark.integration


@pytest.fixture
def ms_marco(place, tiny_collection):
    """A tiny MS MARCO as its archive has it."""
    documents = [json.loads(line) for line in (tiny_collection / "documents.jsonl").read_text().splitlines()]
    files = {
        "collection.tsv": "".join(f"{d['id']}\t{d['title']} {d['text']}\n" for d in documents),
        "queries.train.tsv": (tiny_collection / "topics.train.tsv").read_text(),
        "qrels.train.tsv": (tiny_collection / "qrels.train.txt").read_text().replace(" ", "\t"),
    }
    place.server.files["collectionandqueries.tar.gz"] = Published(
        tarred({name: text.encode() for name, text in files.items()}), breaks=[2000]
    )
    place.card(
        "collections/msmarco-v1-passage.yaml",
        corpus="collection.tsv",
        downloads={"archive": place.server.url("collectionandqueries.tar.gz")},
        topics={"msmarco-passage-train": "queries.train.tsv"},
        qrels={"msmarco-passage-train": "qrels.train.tsv"},
    )
    make_encoder(place.folder / "encoders" / "weights")
    card = {"backbone": "./encoders/weights", "pooling": "mean", "normalize": True, "dimension": 32}
    place.card("encoders/tiny.yaml", **card)
    values = {"collection": "msmarco-v1-passage", "encoder": "tiny", "m": 4}
    place.card("indexes/msmarco-v1-passage.opq-m96.yaml", **values)
    recipe = {"epochs": 1, "batch_size": 16, "num_negatives": 20, "lr": 3e-5, "centroid_lr": 1e-3}
    place.card("indexes/msmarco-v1-passage.jpq-m96.yaml", **values, recipe=recipe)
    return place


def test_train_alone_prepares_and_trains(ms_marco, monkeypatch, capsys):
    from pyserini_jpq.download import download

    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    assert run("train") == 2  # hours of work begin only where somebody says so
    assert "give --yes to go on" in capsys.readouterr().err
    assert not ms_marco.server.requests
    assert run("train", "--yes") == 0
    err = capsys.readouterr().err
    for stage in (
        "fetching archive of msmarco-v1-passage",
        "pyserini_jpq.encode --corpus msmarco-v1-passage",
        "4 steps",
    ):
        assert stage in err
    manifest = json.loads((ms_marco.folder / "indexes/msmarco-v1-passage.jpq-m96/jpq.json").read_text())
    assert manifest["documents"] == 300 and manifest["training"]["recipe"]["lr"] == 3e-5
    assert (ms_marco.folder / "encoders/msmarco-v1-passage.jpq-m96/encoder.yaml").is_file()
    assert len(ms_marco.server.requests) == 2  # broken off once


def test_without_a_network_one_line(ms_marco, capsys):
    ms_marco.card(
        "collections/msmarco-v1-passage.yaml",
        corpus="collection.tsv",
        downloads={"archive": "http://127.0.0.1:9/collectionandqueries.tar.gz"},
    )
    assert run("train", "--yes") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    for part in (
        "archive of msmarco-v1-passage",
        "http://127.0.0.1:9/collectionandqueries.tar.gz",
        "put it at downloads/msmarco-v1-passage/collectionandqueries.tar.gz",
    ):
        assert part in lines[0]


def test_search_does_not_build_what_is_not_there(ms_marco, capsys):
    (ms_marco.folder / "t.tsv").write_text("1\tbado\n")
    assert run("search", "--index", "msmarco-v1-passage.opq-m96", "--topics", "t.tsv") == 2
    assert "is not here; build it" in capsys.readouterr().err

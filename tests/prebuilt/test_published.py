"""The default search alone: the published index is fetched, converted, searched; and what may go wrong on the way."""

import gzip
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from tests.conftest import run
from tests.prebuilt.conftest import DOCUMENTS, tarred
from tests.publisher import Published

pytestmark = pytest.mark.integration
NAME = "msmarco-v1-passage.jpq-m96"


def search(place, *more):
    (place.folder / "topics.tsv").write_text("1\tab Ba\n2\tcd\n")
    return run("search", "--topics", "topics.tsv", "--yes", *more)


def error_of(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    return lines[0]


def nothing_half_made(place):
    made = [p.name for kind in ("indexes", "encoders") for p in (place.folder / kind).iterdir() if p.suffix != ".yaml"]
    return not made


def test_search_alone_fetches_converts_and_ranks_as_the_published_index(place):
    import faiss

    from pyserini_jpq import JPQQueryEncoder
    from pyserini_jpq.data.runs import read_run

    assert search(place) == 0
    found = read_run("runs/run.msmarco-passage.jpq-m96.topics.txt")
    encoder = JPQQueryEncoder(f"encoders/{NAME}")
    assert encoder.encoder.card.query.max_length == 16
    index = faiss.deserialize_index(np.frombuffer(place.artifacts["index"], dtype=np.uint8))
    scores, rows = index.search(encoder.encode_batch(["ab Ba", "cd"]), DOCUMENTS)
    for qid, values, ids in zip(("1", "2"), scores, rows, strict=True):
        assert {str(i): pytest.approx(v, abs=1e-4) for i, v in zip(ids, values, strict=True)} == found[qid]
    asked = len(place.server.requests)
    assert asked == 2 and search(place, "--overwrite", "--hits", 3) == 0
    assert len(place.server.requests) == asked


def test_nothing_is_fetched_before_topics_are_seen_and_somebody_agrees(place, capsys):
    assert run("search", "--topics", "nowhere.tsv") == 2
    assert "nowhere.tsv does not exist" in error_of(capsys)
    (place.folder / "topics.tsv").write_text("1\tab\n")
    assert run("search", "--topics", "topics.tsv") == 2
    assert "would be fetched: about 0.0 MB; give --yes to go on" in error_of(capsys)
    assert not place.server.requests and nothing_half_made(place)
    # Who names the index wants it.
    assert run("search", "--topics", "topics.tsv", "--index", NAME) == 0 and place.server.requests


def test_without_a_network_one_line_names_what_whence_and_where(place, capsys):
    dead = {"index": "http://127.0.0.1:9/a/I.index?dl=1", "query_encoder": "http://127.0.0.1:9/b/m.tar.gz"}
    place.publish(downloads=dead)
    assert search(place) == 2
    error = error_of(capsys)
    for part in (f"the index of {NAME}", "http://127.0.0.1:9/a/I.index?dl=1", f"put it at downloads/{NAME}/I.index"):
        assert part in error
    assert nothing_half_made(place)
    # Put there by hand, the index is taken, and the encoder is what is missing next.
    (place.folder / "downloads" / NAME / "I.index").write_bytes(place.artifacts["index"])
    assert search(place) == 2
    assert "the query encoder of" in error_of(capsys)
    archive = {"config.json": place.artifacts["config"], "pytorch_model.bin": place.artifacts["weights"]}
    (place.folder / "downloads" / NAME / "m.tar.gz").write_bytes(tarred(archive))
    assert search(place) == 0


def test_wrong_checksum(place, capsys):
    place.publish(checksums={"query_encoder": "sha256:" + "0" * 64})
    assert search(place) == 2
    assert "its card says 0000" in error_of(capsys) and nothing_half_made(place)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb",)


def zipped_pickle():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(), protocol=2))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


@pytest.mark.parametrize("weights", [pickle.dumps(Bomb()), zipped_pickle()], ids=["plain", "torch"])
def test_a_pickle_that_would_run_code_is_not_run(place, capsys, weights):
    place.publish({"m4/config.json": place.artifacts["config"], "m4/pytorch_model.bin": weights})
    assert search(place) == 2
    assert "pytorch_model.bin" in error_of(capsys)
    assert not (place.folder / "bomb").exists() and nothing_half_made(place)


@pytest.mark.parametrize("name", ["../led-outside", "/led-outside", "m4/../../led-outside"])
def test_an_archive_that_leads_outside(place, capsys, name):
    place.publish({"m4/config.json": b"{}", name: b"x"})
    assert search(place) == 2
    assert "leads out of the folder" in error_of(capsys)
    assert nothing_half_made(place) and not list(place.folder.parent.rglob("led-outside"))


TWO = {"a/config.json": b"{}", "a/pytorch_model.bin": b"", "b/config.json": b"{}", "b/model.safetensors": b""}


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({}, "no folder with config.json"),
        (TWO, "several folders with config.json"),
        ({"m4/config.json": b"{", "m4/pytorch_model.bin": b"x"}, "config.json"),
    ],
)
def test_an_archive_without_an_encoder(place, capsys, members, part):
    place.publish(members)
    assert search(place) == 2
    assert part in error_of(capsys) and nothing_half_made(place)


def test_an_index_that_is_none_or_another_one(place, capsys):
    place.publish(documents=DOCUMENTS + 1)
    assert search(place) == 2
    assert f"holds {DOCUMENTS} documents" in error_of(capsys)
    place.server.files["OPQ4,IVF1,PQ4x8.index"].content = b"no index"
    (place.folder / "downloads" / NAME / "OPQ4,IVF1,PQ4x8.index").unlink()
    (place.folder / "downloads" / NAME / "SHA256SUMS").unlink()
    assert search(place) == 2
    assert "OPQ4,IVF1,PQ4x8.index" in error_of(capsys)
    assert not (place.folder / "indexes" / NAME).exists()


def test_docids_in_the_order_of_the_collection(place, capsys):
    lines = [f"D{i}\t{i}\t{(DOCUMENTS - i) * 100}\n" for i in range(DOCUMENTS)]
    place.server.files["lookup.tsv.gz"] = Published(gzip.compress("".join(lines).encode()))
    urls = {"index": "OPQ4,IVF1,PQ4x8.index", "query_encoder": "m4.tar.gz", "docids": "lookup.tsv.gz"}
    place.publish(downloads={what: place.server.url(path) for what, path in urls.items()})
    assert search(place) == 0
    assert (place.folder / "indexes" / NAME / "docid").read_text().split()[:2] == ["D299", "D298"]
    from pyserini_jpq.errors import DownloadError
    from pyserini_jpq.prebuilt import _docids_by_offset

    (place.folder / "bad.gz").write_bytes(gzip.compress(b"D1\t0\t0\nD2 0 0\n"))
    with pytest.raises(DownloadError, match="after line 1"):
        _docids_by_offset(place.folder / "bad.gz")


def test_the_vocabulary_by_hand(place, capsys, artifacts):
    place.card(
        "encoders/tiny-star.yaml",
        backbone="./encoders/tiny-star",
        architecture="ance",
        tokenizer="./nowhere",
        tokenizer_class="RobertaTokenizer",
        tokenizer_options={"do_lower_case": True, "add_prefix_space": True},
        dimension=32,
    )
    assert search(place) == 2
    assert f"put vocab.json and merges.txt of roberta-base into downloads/{NAME}" in error_of(capsys)
    assert nothing_half_made(place)

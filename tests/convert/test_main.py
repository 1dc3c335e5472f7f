"""The command: an index and an encoder as the authors publish them, there and back; an index of pyserini's trained."""

import json
import pickle
import subprocess
import sys

import faiss
import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.index.folder import IndexFolder
from tests.conftest import run
from tests.convert.authors import authors_index, train_as_authors, write_checkpoint, write_tokenizer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Index, checkpoint and map, as the authors' scripts leave them for MS MARCO documents."""
    folder = tmp_path_factory.mktemp("published")
    vectors = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)
    index = authors_index(vectors, 4)
    faiss.write_index(index, str(folder / "before.index"))
    train_as_authors(index, 4)
    faiss.write_index(index, str(folder / "OPQ4,IVF1,PQ4x8.index"))
    write_tokenizer(write_checkpoint(folder / "m4"))
    pids = np.random.default_rng(1).permutation(10_000)[:400].astype(np.int32)
    with open(folder / "pid2offset.pickle", "wb") as file:
        pickle.dump({pid: row for row, pid in enumerate(pids)}, file, protocol=4)
    return folder, pids.tolist()


def test_published_files_become_a_searchable_index(published, tmp_path, capsys, monkeypatch):
    from pyserini_jpq import JPQFaissSearcher

    folder, pids = published
    monkeypatch.chdir(tmp_path)
    file = folder / "OPQ4,IVF1,PQ4x8.index"
    flags = ("--pid2offset", folder / "pid2offset.pickle", "--docid-prefix", "D", "--encoder", folder / "m4")
    command = ("convert", "--from", "jpq", "--index", file, *flags, "--output", "indexes/x")
    assert run(*command, "--initial-index", folder / "before.index", "--document-encoder", "star") == 0
    err = capsys.readouterr().err
    assert "400 documents of 4 bytes: indexes/x" in err
    assert "cannot be compared with star" in err and "no document can be appended" not in err
    searcher = JPQFaissSearcher("x")
    original = faiss.read_index(str(file))
    for query in ("What is PQ?", "another one"):
        hits = searcher.search(query, k=400)
        scores, rows = original.search(searcher.query_encoder.encode(query)[None], 400)
        # The compiled scan and faiss add a score's parts in different orders.
        found = {hit.docid: hit.score for hit in hits}
        expected = {f"D{pids[row]}": score for row, score in zip(rows[0], scores[0], strict=True)}
        assert found == pytest.approx(expected, abs=1e-5)
        assert np.allclose([expected[hit.docid] for hit in hits], scores[0], atol=1e-5)
    assert run(*command) == 2 and "exists already" in capsys.readouterr().err
    assert searcher.folder.blocks and run(*command[:-1], "indexes/without", "--blocks", "no") == 0
    assert not IndexFolder("indexes/without", verify=True).blocks
    assert run("convert", "--to", "jpq", "--index", "x", "--output", "out/x", "--blocks", "no") == 2
    assert "--blocks does not go with --to" in capsys.readouterr().err

    out = ("--output", "out/again.index", "--pid2offset", "out/m.pickle", "--docid", "out/docid", "--encoder", "out/m4")
    assert run("convert", "--to", "jpq", "--index", "x", *out, "--strip-docid-prefix", "D") == 0
    assert "400 documents: out/again.index, out/docid, out/m.pickle, out/m4" in capsys.readouterr().err
    assert (tmp_path / "out" / "again.index").read_bytes() == file.read_bytes()
    with open("out/m.pickle", "rb") as stream:
        assert pickle.load(stream) == {pid: row for row, pid in enumerate(pids)}
    again = ("convert", "--from", "jpq", "--index", "out/again.index", "--docid", "out/docid", "--docid-prefix", "D")
    assert run(*again, "--encoder", "out/m4", "--output", "indexes/y") == 0
    assert "no document can be appended; --initial-index" in capsys.readouterr().err
    one, other = IndexFolder("indexes/x", verify=True), IndexFolder("indexes/y", verify=True)
    assert one.manifest.query_encoder["sha256"] == other.manifest.query_encoder["sha256"]
    assert one.docids() == other.docids()
    assert (one.path / "index").read_bytes() == (other.path / "index").read_bytes()
    assert run("convert", "--to", "faiss", "--index", "x", "--output", "out/plain", "--initial") == 0
    assert faiss.read_index("out/plain").ntotal == 400
    assert run("convert", "--to", "faiss", "--index", "x", "--output", "out/plain") == 2


def test_index_of_pyserini_is_a_start_for_training(built, tiny_encoder, tiny_collection, tmp_path, capsys):
    embeddings = Embeddings(built / "embeddings")
    (tmp_path / "vectors").mkdir()
    with open(tmp_path / "vectors" / "embeddings.jsonl", "w") as file:
        for docid, vector in zip(embeddings.docids(), np.concatenate(list(embeddings.blocks(1000))), strict=True):
            file.write(json.dumps({"id": docid, "vector": vector.tolist()}) + "\n")
    command = [
        sys.executable,
        "-m",
        "pyserini.index.faiss",
        "--input",
        tmp_path / "vectors",
        "--output",
        tmp_path / "f",
    ]
    options = ["--dim", "32", "--pq", "--pq-m", "4", "--threads", "1"]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=600)
    source = IndexFolder(built / "x.opq-m4")
    card = tmp_path / "tiny.yaml"
    card.write_text(json.dumps(source.manifest.query_encoder["card"]))
    assert run("convert", "--from", "faiss", "--index", tmp_path / "f", "--output", tmp_path / "bare") == 0
    assert "names no encoder" in capsys.readouterr().err
    topics = tiny_collection / "topics.train.tsv"
    train = ("--topics", topics, "--qrels", tiny_collection / "qrels.train.txt", "--epochs", 1, "--num-negatives", 20)
    outputs = ("--output", tmp_path / "x.jpq", "--output-encoder", tmp_path / "e.jpq", "--device", "cpu")
    assert run("train", "--index", tmp_path / "bare", *train, *outputs) == 2
    assert "names no query encoder" in capsys.readouterr().err
    found = ("--encoder", tiny_encoder)
    assert run("convert", "--from", "faiss", "--index", tmp_path / "f", *found, "--output", tmp_path / "x") == 0
    assert run("train", "--index", tmp_path / "x", *train, *outputs) == 0
    trained = IndexFolder(tmp_path / "x.jpq", verify=True)
    assert trained.docids() == source.docids() and trained.manifest.initial_centroids_known
    run_file = tmp_path / "run.txt"
    assert run("search", "--index", tmp_path / "bare", "--topics", topics, "--output", run_file) == 2
    assert "names no query encoder" in capsys.readouterr().err
    assert run("search", "--index", tmp_path / "bare", "--topics", topics, "--output", run_file, *found) == 0


def test_flags(published, tmp_path, capsys):
    folder, _ = published
    base = ("--index", folder / "before.index", "--output", tmp_path / "x")
    for flags, message in (
        (("--from", "jpq", *base, "--initial"), "--initial does not go with --from"),
        (("--to", "jpq", *base, "--any-metric"), "--any-metric does not go with --to"),
        (("--to", "jpq", *base, "--docid-prefix", "D"), "--docid-prefix does not go with --to"),
        (("--from", "faiss", *base, "--initial-index", "y"), "--initial-index goes with --from jpq"),
        (base, "one of the arguments --from --to is required"),
        (("--to", "jpq", "--index", tmp_path / "nowhere", "--output", "x"), "is no folder"),
        (("--from", "faiss", *base, "--docid", tmp_path / "nowhere"), "cannot be read as lines"),
    ):
        assert run("convert", *flags) == 2 and message in capsys.readouterr().err.splitlines()[-1]
    l2 = faiss.IndexPQ(8, 2, 8)
    l2.train(vectors := np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    l2.add(vectors)
    faiss.write_index(l2, str(tmp_path / "l2"))
    command = ("convert", "--from", "faiss", "--index", tmp_path / "l2", "--output", tmp_path / "y")
    assert run(*command) == 2 and "--any-metric" in capsys.readouterr().err
    assert run(*command, "--any-metric") == 0 and "ranks by inner product, so otherwise" in capsys.readouterr().err


def test_a_folder_of_another_type_is_never_replaced(built, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    index, encoder = built / "x.jpq-m4", built / "enc" / "x.jpq-m4"
    run("convert", "--to", "faiss", "--index", index, "--output", tmp_path / "x.faiss")
    for words in (
        ("--from", "faiss", "--index", tmp_path / "x.faiss", "--output", tmp_path / "mine", "--encoder", encoder),
        ("--to", "faiss", "--index", index, "--output", tmp_path / "mine"),
        ("--to", "faiss", "--index", index, "--output", tmp_path / "y", "--docid", tmp_path / "mine"),
    ):
        assert run("convert", *words, "--overwrite") == 2
        assert str(tmp_path / "mine") in capsys.readouterr().err.splitlines()[-1]
        assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"

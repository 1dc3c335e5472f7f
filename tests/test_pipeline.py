"""The whole way on a tiny collection: what each command leaves, refuses, and takes up again."""

import json
import shutil

import faiss
import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import EncoderError, IndexFolderError, JPQError
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.folder import IndexFolder, find_index
from tests.conftest import ENCODER_FLAGS, make_encoder, run

pytestmark = pytest.mark.integration


def encode(corpus, encoder, output, *more):
    return run("encode", "--corpus", corpus, "--encoder", encoder, "--output", output, *ENCODER_FLAGS, *more)


def error_of(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    return lines[0]


def test_training_moves_centroids_and_biases_only(built):
    before, after = IndexFolder(built / "x.opq-m4", verify=True), IndexFolder(built / "x.jpq-m4", verify=True)
    old, old_codes = from_faiss(opq := read_faiss(before.path / "index"), "opq")
    new, new_codes = from_faiss(jpq := read_faiss(after.path / "index"), "jpq")
    assert np.array_equal(old.rotation, new.rotation) and np.array_equal(old_codes, new_codes)
    assert old.biases is None and new.biases is not None and not np.array_equal(old.centroids, new.centroids)
    assert np.array_equal(after.initial_centroids(), old.centroids)
    assert before.docids() == after.docids()
    assert before.embeddings().samefile(built / "embeddings") and after.embeddings().samefile(built / "embeddings")
    assert after.manifest.query_encoder["sha256"] != after.manifest.document_encoder["sha256"]
    history = after.manifest.training["history"]
    assert max(h["dev"] for h in history) >= history[0]["dev"]
    assert opq.ntotal == jpq.ntotal == 300
    assert not list(built.glob(".*"))


@pytest.mark.parametrize("scans", [False, True])
def test_stock_searcher_gives_the_same_ranking(built, tiny_collection, monkeypatch, scans):
    from pyserini_jpq import JPQFaissSearcher, JPQQueryEncoder
    from pyserini_jpq.compat import pyserini
    from pyserini_jpq.data.topics import read_topics
    from pyserini_jpq.search import open as opening

    if scans:
        monkeypatch.setattr(opening, "SCAN_FROM", 0)
    # The first search leaves faiss, and with it torch's sums in the encoder, with one thread; so may the others' bits.
    faiss.omp_set_num_threads(1)
    encoder = JPQQueryEncoder(built / "enc" / "x.jpq-m4")
    ours, stock = (
        JPQFaissSearcher(built / "x.jpq-m4"),
        pyserini.faiss_searcher_base()(str(built / "x.jpq-m4"), encoder),
    )
    index = ours.folder.read()  # which the codes are a view of
    quantizer, codes = from_faiss(index, "ours")
    topics = read_topics(str(tiny_collection / "topics.dev.tsv"))
    for query in topics.values():
        hits = ours.search(query, k=50)
        # Sums of other rounding differ in their last bits, and so may the order of documents that all but tie.
        exact = dict(zip(ours.docids, quantizer.score(encoder.encode(query)[None], codes)[0], strict=True))
        if not scans:
            assert [(h.docid, h.score) for h in hits] == [(h.docid, h.score) for h in stock.search(query, k=50)]
        for hit, other in zip(hits, stock.search(query, k=50), strict=True):
            assert hit.score == pytest.approx(other.score, rel=1e-5)
            assert exact[hit.docid] == pytest.approx(exact[other.docid], rel=1e-5)
    qids, queries = list(topics), list(topics.values())
    batch, stock_batch = ours.batch_search(queries, qids, k=20), stock.batch_search(queries, qids, k=20)
    for qid, hits in batch.items():
        assert [h.score for h in hits] == pytest.approx([h.score for h in stock_batch[qid]], rel=1e-5)
    vectors, with_vectors = ours.batch_search(queries, qids, k=20, return_vector=True)
    assert {q: [h.docid for h in hits] for q, hits in with_vectors.items()} == {
        q: [h.docid for h in hits] for q, hits in batch.items()
    }
    rows = [ours.docids.index(h.docid) for h in batch[qids[0]]]
    biases = quantizer.biases[np.arange(quantizer.m), codes[rows]].sum(axis=1)
    by_product = [np.dot(vectors[0], h.vectors) for h in with_vectors[qids[0]]]
    assert by_product + biases == pytest.approx([h.score for h in batch[qids[0]]], abs=1e-4)
    vector = encoder.encode(queries[0])
    reference = dict(zip(ours.docids, quantizer.score(vector[None], codes)[0], strict=True))
    assert all(abs(reference[h.docid] - h.score) < 1e-4 for h in ours.search(queries[0], k=300))
    assert len(ours.search(vector, k=10**6)) == 300
    for bad in ("", np.full(32, np.nan), np.zeros(3)):
        with pytest.raises(JPQError):
            ours.search(bad)
    with pytest.raises(JPQError, match="at least one hit"):
        ours.search(vector, k=0)
    with pytest.raises(JPQError, match="one for each"):
        ours.batch_search(queries, qids[1:])
    assert ours.batch_search([], []) == {}


def test_runs_are_written_and_evaluated(built, tiny_collection, tmp_path, capsys):
    topics, qrels = tiny_collection / "topics.dev.tsv", tiny_collection / "qrels.dev.txt"
    for name in ("opq", "jpq"):
        flags = ("--index", built / f"x.{name}-m4", "--topics", topics, "--output", tmp_path / f"run.{name}.txt")
        assert run("search", *flags, "--batch-size", 5, "--tag", "mine") == 0
    lines = (tmp_path / "run.jpq.txt").read_text().splitlines()
    assert len(lines) == 16 * 300 and lines[0].endswith(" mine") and len(lines[0].split()) == 6
    assert run("search", *flags) == 2 and "exists already" in error_of(capsys)
    assert run("search", *flags, "--overwrite", "--output-format", "msmarco", "--hits", 10) == 0
    assert (tmp_path / "run.jpq.txt").read_text().count("\n") == 160
    for more in (("--prf-depth", 3), ("--prf-depth", 3, "--prf-method", "rocchio"), ("--max-passage",)):
        assert run("search", *flags, "--overwrite", *more) == 0
    capsys.readouterr()
    assert run("evaluate", "--qrels", qrels, tmp_path / "run.opq.txt", tmp_path / "run.jpq.txt") == 0
    assert "nDCG@10" in capsys.readouterr().out


def test_resumed_encoding_equals_an_unbroken_one(built, tiny_encoder, tiny_collection, tmp_path, monkeypatch):
    from pyserini_jpq.encode.encoder import Encoder

    forward, calls = Encoder.forward, []

    def interrupted(self, *tensors):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(self, *tensors)

    corpus = tiny_collection / "documents.jsonl"
    monkeypatch.setattr(Encoder, "forward", interrupted)
    assert encode(corpus, tiny_encoder, tmp_path / "e") == 130
    assert run("index", "--embeddings", tmp_path / "e", "--output", tmp_path / "i", "--m", 4) == 2
    calls.clear()
    calls.extend([1] * 10)
    assert encode(corpus, tiny_encoder, tmp_path / "e") == 0
    assert len(calls) == 10 + 10 - 3
    whole, resumed = Embeddings(built / "embeddings"), Embeddings(tmp_path / "e")
    assert np.array_equal(whole.sample(1000, 0), resumed.sample(1000, 0))
    assert list(whole.docids()) == list(resumed.docids())
    assert whole.sample(10, 1).shape == (10, 32)


def test_shards_make_the_whole(built, tiny_encoder, tiny_collection, tmp_path, capsys):
    corpus = tiny_collection / "documents.jsonl"
    for shard in range(3):
        assert encode(corpus, tiny_encoder, tmp_path / "e", "--shard-num", 3, "--shard-id", shard) == 0
    whole, sharded = Embeddings(built / "embeddings"), Embeddings(tmp_path / "e")
    assert np.allclose(whole.sample(1000, 0), sharded.sample(1000, 0), atol=1e-5)
    assert list(whole.docids()) == list(sharded.docids())
    assert encode(corpus, tiny_encoder, tmp_path / "e") == 2 and "exists already" in error_of(capsys)
    assert encode(corpus, tiny_encoder, tmp_path / "e", "--query-prefix", "q: ") == 2
    assert "made otherwise" in error_of(capsys)
    assert encode(corpus, tiny_encoder, tmp_path / "f", "--shard-num", 2, "--shard-id", 2) == 2


def test_nan_among_the_embeddings_is_named(built, tmp_path, capsys):
    shutil.copytree(built / "embeddings", tmp_path / "e")
    path = tmp_path / "e" / "rows-0000000000.npy"
    rows = np.load(path)
    rows[17, 3] = np.nan
    np.save(path, rows)
    assert run("index", "--embeddings", tmp_path / "e", "--output", tmp_path / "i", "--m", 4) == 2
    assert "docid d17" in error_of(capsys)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e"]


def test_index_refuses_what_cannot_be(built, tmp_path, capsys):
    index = ("index", "--embeddings", built / "embeddings", "--output", tmp_path / "i")
    assert run(*index, "--m", 5) == 2 and "--m 5 does not divide the 32 dimensions" in error_of(capsys)
    assert run(*index, "--m", 4, "--sample", 100) == 2 and "fewer than the 256 centroids" in error_of(capsys)
    assert run("index", "--embeddings", tmp_path, "--output", tmp_path / "i") == 2
    assert "no folder of embeddings" in error_of(capsys)
    assert run("index", "--embeddings", built / "embeddings", "--output", built / "x.opq-m4", "--m", 4) == 2
    assert "exists already" in error_of(capsys)


def test_interrupted_search_says_that_it_starts_over(built, tiny_collection, tmp_path, monkeypatch, capsys):
    from pyserini_jpq.search.searcher import JPQFaissSearcher

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(JPQFaissSearcher, "ranked", interrupted)
    flags = (
        "--index",
        built / "x.opq-m4",
        "--topics",
        tiny_collection / "topics.dev.tsv",
        "--output",
        tmp_path / "run.txt",
    )
    assert run("search", *flags) == 130
    assert "no run was written; the same command starts over" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_interrupted_index_goes_on(built, tmp_path, monkeypatch):
    from pyserini_jpq.index import writing

    with monkeypatch.context() as patch:
        patch.setattr(writing, "BLOCK", 64)
        assign, calls = writing.Assigner.assign, []

        def interrupted(self, block):
            calls.append(len(block))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return assign(self, block)

        patch.setattr(writing.Assigner, "assign", interrupted)
        flags = ("index", "--embeddings", built / "embeddings", "--output", tmp_path / "i", "--m", 4)
        assert run(*flags) == 130 and not (tmp_path / "i").exists()
        assert run(*flags) == 0
        # 300 rows in blocks of 64, of which two were done.
        assert len(calls) == 3 + 3
    codes = from_faiss(index := read_faiss(tmp_path / "i" / "index"), "i")[1]
    expected = from_faiss(other := read_faiss(built / "x.opq-m4" / "index"), "x")[1]
    assert np.array_equal(codes, expected) and index.ntotal == other.ntotal


def test_damaged_index_folders_are_refused(built, tmp_path):
    def damaged(change):
        folder = tmp_path / change.__name__
        shutil.copytree(built / "x.jpq-m4", folder)
        change(folder)
        return folder

    def missing(folder):
        (folder / "docid").unlink()

    def cut(folder):
        (folder / "index").write_bytes((folder / "index").read_bytes()[:-10])

    def no_manifest(folder):
        (folder / "jpq.json").unlink()

    def bad_manifest(folder):
        (folder / "jpq.json").write_text("{")

    def later(folder):
        manifest = json.loads((folder / "jpq.json").read_text())
        (folder / "jpq.json").write_text(json.dumps({**manifest, "schema": 99}))

    def unknown_field(folder):
        manifest = json.loads((folder / "jpq.json").read_text())
        (folder / "jpq.json").write_text(json.dumps({**manifest, "colour": 1}))

    def wrong_types(folder):
        manifest = json.loads((folder / "jpq.json").read_text())
        (folder / "jpq.json").write_text(json.dumps({**manifest, "documents": "300", "files": [], "query_encoder": {}}))

    for change, part in (
        (wrong_types, r"damaged \(documents, query_encoder, files\)"),
        (missing, "is missing"),
        (cut, "cut short"),
        (no_manifest, r"jpq\.json is missing"),
        (bad_manifest, "damaged"),
        (later, "schema 99"),
        (unknown_field, "damaged"),
    ):
        with pytest.raises(IndexFolderError, match=part):
            IndexFolder(damaged(change))

    def flipped(folder):
        content = bytearray((folder / "index").read_bytes())
        content[-20] ^= 1
        (folder / "index").write_bytes(content)

    folder = damaged(flipped)
    IndexFolder(folder)
    with pytest.raises(IndexFolderError, match="SHA-256"):
        IndexFolder(folder, verify=True)
    with pytest.raises(IndexFolderError):
        find_index("no-such-index")
    with pytest.raises(IndexFolderError):
        find_index("no/such/index")


def test_another_encoder_is_refused(built, tmp_path):
    from pyserini_jpq import JPQFaissSearcher

    other = make_encoder(tmp_path / "other", seed=1)
    with pytest.raises(EncoderError, match="is not the query encoder"):
        JPQFaissSearcher(built / "x.jpq-m4", str(other))
    assert JPQFaissSearcher(built / "x.jpq-m4", str(other), any_encoder=True).search("bado kefa", k=3)
    shutil.copytree(built / "x.jpq-m4", tmp_path / "moved")
    with pytest.raises(EncoderError, match="put it back"):
        JPQFaissSearcher(tmp_path / "moved")


def test_training_refuses_what_cannot_be(built, tiny_collection, tmp_path, capsys):
    topics = tiny_collection / "topics.train.tsv"
    base = ("train", "--index", built / "x.opq-m4", "--output", tmp_path / "o", "--output-encoder", tmp_path / "p")
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("q1 0 nowhere 1\n")
    assert run(*base, "--topics", topics, "--qrels", qrels) == 2 and "1 of them unknown" in error_of(capsys)
    assert run(*base, "--topics", topics, "--qrels", tiny_collection / "qrels.train.txt", "--dev-topics", topics) == 2
    assert run("train", "--index", built / "x.opq-m4", "--output", built / "x.opq-m4") == 2
    assert "is --index" in capsys.readouterr().err.splitlines()[-1]
    qrels.write_text("q1 0 nowhere 1\nq1 0 d1 1\nq999 0 d1 1\n")
    assert run(*base, "--topics", topics, "--qrels", qrels, "--epochs", 1, "--device", "cpu") == 0
    err = capsys.readouterr().err
    assert "names 1 relevant documents" in err and "judges 1 queries" in err
    assert run(*base, "--topics", topics, "--qrels", qrels) == 2 and "exists already" in error_of(capsys)


@pytest.mark.parametrize("checkpoint", ["signal", "every"])
def test_resumed_training_equals_an_unbroken_one(built, tiny_collection, tmp_path, monkeypatch, checkpoint):
    import os
    import signal

    from pyserini_jpq.train.trainer import Trainer

    data = ("--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt")
    recipe = ("--epochs", 3, "--batch-size", 16, "--num-negatives", 20, "--device", "cpu")

    def flags(name):
        folder = tmp_path / name
        return (
            "train",
            "--index",
            built / "x.opq-m4",
            *data,
            *recipe,
            "--output",
            folder,
            "--output-encoder",
            f"{folder}e",
        )

    assert run(*flags("whole")) == 0
    with monkeypatch.context() as patch:
        step = Trainer.step

        def stopped(self, batch):
            value = step(self, batch)
            if self.step_number == 7:
                if checkpoint == "every":
                    raise MemoryError
                os.kill(os.getpid(), signal.SIGINT)
            return value

        patch.setattr(Trainer, "step", stopped)
        if checkpoint == "every":
            with pytest.raises(MemoryError):
                run(*flags("broken"), "--checkpoint-every", 5)
        else:
            assert run(*flags("broken")) == 130
    assert not (tmp_path / "broken").exists()
    assert run(*flags("broken"), "--lr", "0.5") == 2
    assert run(*flags("broken")) == 0
    for name in ("index", "docid", "initial_centroids.npy"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
    one, other = (IndexFolder(tmp_path / n).manifest.query_encoder["sha256"] for n in ("whole", "broken"))
    assert one == other


def test_full_disk_is_one_line(built, tiny_collection, tmp_path, capsys, monkeypatch):
    import errno

    from pyserini_jpq.index import build

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    monkeypatch.setattr(build, "write_docids", full)
    flags = ("index", "--embeddings", built / "embeddings", "--output", tmp_path / "i", "--m", 4)
    assert run(*flags) == 2 and "no space left" in error_of(capsys)
    monkeypatch.undo()
    assert run(*flags) == 0


def test_indexes_of_4_bits_are_built_trained_and_searched(built, tiny_collection, tmp_path):
    from pyserini_jpq import JPQFaissSearcher

    index = ("index", "--embeddings", built / "embeddings", "--output", tmp_path / "opq", "--m", 8, "--bits", 4)
    assert run(*index) == 0
    assert IndexFolder(tmp_path / "opq", verify=True).manifest.bytes_per_document == 4
    data = ("--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt")
    outputs = ("--output", tmp_path / "jpq", "--output-encoder", tmp_path / "encoder")
    train = ("train", "--index", tmp_path / "opq", *data, *outputs, "--epochs", 1, "--num-negatives", 20)
    assert run(*train, "--device", "cpu") == 0
    before, codes = from_faiss(read_faiss(tmp_path / "opq" / "index"), "opq")
    after, same = from_faiss(read_faiss(tmp_path / "jpq" / "index"), "jpq")
    assert np.array_equal(codes, same) and codes.shape == (300, 8) and codes.max() < 16
    assert not np.array_equal(before.centroids, after.centroids)
    query = np.random.default_rng(0).normal(size=(1, 32)).astype(np.float32)
    hits = JPQFaissSearcher(tmp_path / "jpq").search(query, k=10)
    scores, _ = after.search(query, codes, 10)
    assert [hit.score for hit in hits] == pytest.approx(scores[0].tolist(), abs=1e-5)


def test_indexes_of_4_bits_are_changed_and_built_from_others(built, tmp_path, capsys):
    def codes_of(folder):
        index = read_faiss(folder / "index")
        return from_faiss(index, folder)[1].copy()

    embeddings = ("--embeddings", built / "embeddings")
    assert run("index", *embeddings, "--output", tmp_path / "x", "--m", 8, "--bits", 4) == 0
    assert run("index", *embeddings, "--output", tmp_path / "y", "--from", tmp_path / "x") == 0
    before, docids = codes_of(tmp_path / "x"), IndexFolder(tmp_path / "x").docids()
    assert np.array_equal(codes_of(tmp_path / "y"), before)

    assert run("index", "--index", tmp_path / "x", "--delete", *docids[:3]) == 0
    assert np.array_equal(codes_of(tmp_path / "x"), before[3:])
    assert run("index", "--index", tmp_path / "x", "--append", *embeddings) == 2
    assert "already" in error_of(capsys)
    assert run("index", "--index", tmp_path / "x", "--append", *embeddings, "--replace") == 0
    assert IndexFolder(tmp_path / "x", verify=True).manifest.bytes_per_document == 4
    assert IndexFolder(tmp_path / "x").docids() == docids and np.array_equal(codes_of(tmp_path / "x"), before)

"""The index from Python: the lines of the README, what it refuses, and that no JVM is in it."""

import copy
import json
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pyserini_jpq as jpq
from pyserini_jpq.errors import JPQError
from pyserini_jpq.locks import BusyError
from tests.conftest import WORDS

pytestmark = pytest.mark.integration


def documents_in(tiny_collection):
    lines = (tiny_collection / "documents.jsonl").read_text().splitlines()
    return {d["id"]: {"title": d["title"], "text": d["text"]} for d in map(json.loads, lines)}


CHANGES = jpq.EncoderChanges(pooling="mean", l2_norm=True)
CPU = jpq.EncodeOptions(device="cpu", dtype="float32")
HOW = {"changes": CHANGES, "encode_options": CPU}


@pytest.fixture(scope="module")
def documents(tiny_collection):
    return documents_in(tiny_collection)


@pytest.fixture(scope="module")
def notes(documents, tiny_encoder, tmp_path_factory):
    """An index of generators, which are read once."""
    path = tmp_path_factory.mktemp("notes") / "notes"
    ids, texts = (d for d in documents), (t for t in documents.values())
    return jpq.Index.from_texts(ids, texts, encoder=tiny_encoder, m=4, path=path, changes=CHANGES, encode_options=CPU)


def found(hits):
    return [(hit.docid, hit.score) for hit in hits]


def test_an_index_from_texts_is_that_of_the_commands(notes, built, documents, tiny_collection):
    theirs = jpq.Index(built / "x.opq-m4")
    assert len(notes) == 300 and notes.manifest.m == 4 and list(notes.docids) == list(documents)
    query = documents["d7"]["text"]
    assert found(notes.search(query)) == found(theirs.search(query))
    assert theirs.texts is None and theirs.search(query, k=1)[0].text is None


def test_hits_have_texts(notes, documents):
    hit = notes.search(documents["d7"]["text"], k=3)[0]
    assert hit.docid == "d7" and hit.text == documents["d7"]["text"] and hit.title == documents["d7"]["title"]
    assert repr(hit).startswith("Hit(docid='d7', score=")
    assert notes.texts["d8"].text == documents["d8"]["text"] and set(notes.texts) == set(documents)


def test_one_query_many_and_vectors_find_the_same(notes):
    queries = {f"q{i}": " ".join(WORDS[i : i + 4]) for i in range(5)}
    by_id = notes.batch_search(queries, k=7, threads=2)
    assert list(by_id) == list(queries) and all(len(hits) == 7 for hits in by_id.values())
    vectors = notes.encode_queries(list(queries.values()))
    for hits in (notes.batch_search(list(queries.values()), 7), notes.batch_search(vectors, 7)):
        assert [[h.docid for h in of] for of in hits] == [[h.docid for h in of] for of in by_id.values()]
    assert found(notes.search(vectors[0], np.int64(7))) == found(notes.batch_search(vectors[:1], 7)[0])
    assert len(notes.search(vectors[0], k=10_000)) == 300
    assert notes.batch_search([], 3) == [] and notes.batch_search({}, 3) == {}


def test_what_cannot_be_searched_is_one_line(notes):
    for wrong in (
        "  ",
        np.zeros(3, np.float32),
        np.full(32, np.nan, np.float32),
        np.zeros((2, 32), np.float32),
        None,
        5,
    ):
        with pytest.raises(jpq.JPQError):
            notes.search(wrong)
    for k in (0, -1, 2.5, None):
        with pytest.raises(jpq.JPQError, match="k is"):
            notes.search("bado", k=k)
    with pytest.raises(jpq.JPQError, match="queries: expected a list"):
        notes.batch_search("bado")
    with pytest.raises(jpq.IndexFolderError):
        jpq.Index("nowhere/at/all")


def test_documents_are_added_replaced_and_deleted(documents, tiny_encoder, tmp_path):
    index = jpq.Index.from_texts(
        documents,
        documents.values(),
        encoder=tiny_encoder,
        m=4,
        path=tmp_path / "x",
        changes=CHANGES,
        encode_options=CPU,
    )
    old = pickle.loads(pickle.dumps(index))
    text = " ".join(WORDS[20:30])
    with pytest.raises(jpq.EncoderError):  # the index was made with other pooling than the folder says by itself
        index.add(["new"], [text], encoder=tiny_encoder, encode_options=CPU)
    assert index.add(["new", 7], [text, {"title": "t", "text": "u bado"}], encode_options=CPU).appended == 2
    assert len(index) == 302 and "new" in {hit.docid for hit in index.search(text, k=302)}
    assert index.texts["7"].title == "t"
    with pytest.raises(jpq.IndexFolderError, match="already"):
        index.add(["new"], ["kedo"], encode_options=CPU)
    assert index.add(["new"], ["kedo " * 5], replace=True, encode_options=CPU).replaced == 1
    assert index.texts["new"].text == ("kedo " * 5).strip()
    with pytest.raises(jpq.IndexFolderError, match="holds no document 'nobody'"):
        index.delete(["new", "nobody"])
    assert index.delete(["new", 7]).deleted == 2
    assert len(index) == 300 and "new" not in index.texts
    # One that was opened before keeps its state; its texts, too.
    assert len(old) == 300
    for hit in old.search(documents["d1"]["text"]):
        assert hit.text == documents[hit.docid]["text"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.embeddings"]


def test_an_index_from_vectors(tmp_path, tiny_encoder):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 32)).astype(np.float64)
    index = jpq.Index.from_embeddings(vectors, path=tmp_path / "v", m=4)
    assert index.search(vectors[3].astype(np.float32), k=500)[0].score > 0 and list(index.docids)[:2] == ["0", "1"]
    with pytest.raises(jpq.EncoderError, match="names no query encoder"):
        index.search("bado")
    with pytest.raises(jpq.JPQError, match="499 ids for 500 vectors"):
        jpq.Index.from_embeddings(vectors, ids=range(499), path=tmp_path / "w", m=4)
    named = jpq.Index.from_embeddings(vectors, ids=range(500), path=tmp_path / "w", m=4, encoder=tiny_encoder)
    assert len(named.search("bado")) == 10
    with pytest.raises(jpq.JPQError, match="leave `ids` and `encoder` out"):
        jpq.Index.from_embeddings(tmp_path / "v.embeddings", ids=["a"], path=tmp_path / "y", m=4)


def test_it_travels(notes, documents):
    query = documents["d9"]["text"]
    expected = found(notes.search(query))
    for other in (pickle.loads(pickle.dumps(notes)), copy.deepcopy(notes)):
        assert found(other.search(query)) == expected and other.search(query)[0].text == notes.search(query)[0].text
    results = []
    threads = [threading.Thread(target=lambda: results.append(found(notes.search(query)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


def test_train_takes_mappings_and_returns_the_index(built, tiny_collection, tmp_path):
    topics = {f"q{i}": text for i, text in enumerate(["bado beho", "kedo kefa", "lido life"] * 4)}
    qrels = {qid: {f"d{i}": 1} for i, qid in enumerate(topics)}
    options = jpq.TrainOptions(epochs=1, device="cpu", distill_weight=0, norm_bias=0)
    index = jpq.train(
        jpq.Index(built / "x.opq-m4"),
        topics,
        qrels,
        tmp_path / "x.jpq",
        options=options,
        output_encoder=tmp_path / "enc",
    )
    assert isinstance(index, jpq.Index) and index.manifest.training["queries"] == 12
    assert len(index.search("bado beho", k=5)) == 5


def test_no_jvm_and_no_pyserini_in_any_of_it(built, tmp_path):
    code = f"""
import sys, pyserini_jpq as jpq
assert "torch" not in sys.modules and "Index" in dir(jpq) and "JPQFaissSearcher" in dir(jpq)
index = jpq.Index({str(built / "x.opq-m4")!r})
assert index.search(index.encode_queries(["bado"])[0], 3)
run = {{"q1": {{hit.docid: hit.score for hit in index.search("bado kedo")}}}}
assert jpq.evaluate(run, {{"q1": {{"d1": 1}}}}, metrics=["RR"]).runs
jpq.convert({str(built / "x.opq-m4")!r}, {str(tmp_path / "x.faiss")!r}, target="faiss")
assert not {{"pyserini", "jnius"}} & set(sys.modules), "pyserini"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rooms_are_called_as_functions():
    import inspect

    for name in ("encode", "train", "search", "evaluate", "convert"):
        room = getattr(jpq, name)
        assert callable(room) and inspect.signature(room).parameters and room.__name__ == f"pyserini_jpq.{name}"
    with pytest.raises(AttributeError):
        _ = jpq.nothing


def test_a_single_text_is_not_taken_for_many(notes, documents, tmp_path, tiny_encoder):
    ids = list(documents)
    for wrong in (
        lambda: notes.delete(ids[0]),
        lambda: notes.delete(None),
        lambda: notes.encode_queries("a text"),
        lambda: notes.batch_search("a text"),
        lambda: notes.batch_search(None),
        lambda: notes.add("ab", ["x", "y"]),
        lambda: jpq.Index.from_texts(ids, "x" * len(ids), encoder=tiny_encoder, m=4, path=tmp_path / "x"),
    ):
        with pytest.raises(JPQError, match="expected a list or another iterable, not"):
            wrong()
    assert len(notes) == len(ids) and list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_one_line(notes, tmp_path):
    for wrong, line in (
        (lambda: jpq.Index(notes.path, ivf=0), "0 inverted lists; give at least 1"),
        (lambda: jpq.Index(notes.path, ivf=4.5), "ivf is 4.5; give a whole number"),
        (lambda: notes.search("\ud800"), "holds half a surrogate pair"),
        (lambda: jpq.encode({"a": "b"}, "x", tmp_path / "y", options={"batch_size": 1}), r"expected EncodeOptions\("),
    ):
        with pytest.raises(JPQError, match=line):
            wrong()


def test_what_exists_is_refused_before_anything_is_encoded(documents, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "file").write_text("")
    for path, line in (
        ("x", "exists already"),
        (".", "holds the folder"),
        ("..", "holds the folder"),
        ("file/x", "is a file"),
    ):
        with pytest.raises(JPQError, match=line):
            jpq.Index.from_texts(documents, documents.values(), encoder="no encoder is looked for", path=path)
    assert {file.name for file in tmp_path.iterdir()} == {"x", "file"}


def test_lists_of_vectors_are_arrays(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    index = jpq.Index.from_embeddings(pytest.importorskip("torch").from_numpy(vectors), path=tmp_path / "a", m=4)
    other = jpq.Index.from_embeddings(vectors.tolist(), path=tmp_path / "b", m=4)
    assert found(index.search(vectors[0])) == found(other.search(vectors[0]))


def test_two_that_add_at_once_lose_nothing(documents, tiny_encoder, tmp_path):
    """One of two threads is told that the other writes; its documents are not mixed with the other's."""
    ids, texts = list(documents), list(documents.values())
    index = jpq.Index.from_texts(ids, texts, encoder=tiny_encoder, m=4, path=tmp_path / "x", **HOW)
    begun, ended = threading.Event(), threading.Event()

    def slow():
        yield "a text"
        begun.set()
        ended.wait(60)
        yield "another text"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(index.add, ["A0", "A1"], slow(), encode_options=CPU)
        assert begun.wait(60)
        with pytest.raises(BusyError, match="is being written by"):
            jpq.Index(index.path).add(["B0"], ["a third text"])
        with pytest.raises(BusyError):
            index.delete([ids[0]])
        ended.set()
        assert first.result().appended == 2
    assert list(index.docids) == [*ids, "A0", "A1"]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_replaced_index_is_searched_with_its_own_encoder(documents, tiny_encoder, built, tmp_path):
    how = {"encoder": tiny_encoder, "m": 4, "path": tmp_path / "live", **HOW}
    live = jpq.Index.from_texts(documents, documents.values(), **how)
    query = documents["d7"]["text"]
    before = live.encode_queries([query])
    live.reload()
    assert np.array_equal(live.encode_queries([query]), before)
    other = jpq.Index.from_texts(
        documents, documents.values(), overwrite=True, **{**how, "changes": jpq.EncoderChanges(pooling="cls")}
    )
    assert found(live.search(query)) != found(other.search(query))  # the old version, until it is told
    live.reload()
    assert found(live.search(query)) == found(other.search(query))
    assert not np.allclose(live.encode_queries([query]), before)

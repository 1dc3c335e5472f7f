import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pyserini_jpq as jpq
from pyserini_jpq.errors import JPQError
from pyserini_jpq.serve.batches import Batches
from pyserini_jpq.serve.errors import LateError, MissingError, OverloadError, RequestError
from pyserini_jpq.serve.indexes import Indexes
from pyserini_jpq.serve.options import IndexOptions

pytestmark = pytest.mark.integration


def pairs(hits):
    return [(hit.docid, round(hit.score, 5)) for hit in hits]


def test_a_search_is_that_of_the_index(indexes, notes, documents):
    query = documents["d7"]["text"]
    found = indexes.search("notes", query, hits=5)
    assert pairs(found) == pairs(notes.search(query, k=5))
    assert [hit.rank for hit in found] == [1, 2, 3, 4, 5]
    best = found[0].document
    assert (best.title, best.text) == (documents["d7"]["title"], documents["d7"]["text"])
    assert indexes.search("bare", query, hits=1)[0].document is None


def test_documents_are_found_by_any_docid(indexes, documents):
    for docid, document in documents.items():
        assert indexes.document("notes", docid).text == document["text"]
    with pytest.raises(MissingError, match="nothing"):
        indexes.document("notes", "nothing")
    with pytest.raises(MissingError, match="keeps no texts"):
        indexes.document("bare", "d7")


def test_what_is_known_of_an_index_names_no_path(indexes, notes):
    about = indexes.about()
    assert [one["name"] for one in about] == ["notes", "bare"] and [one["texts"] for one in about] == [True, False]
    assert about[0]["documents"] == len(notes) and about[0]["methods"] == ["jpq"]
    assert str(notes.path.parent) not in str(about)


@pytest.mark.parametrize(
    ("name", "query", "hits", "method", "said"),
    [
        ("other", "bado", 10, "jpq", "no index is named other"),
        ("notes", " ", 10, "jpq", "empty"),
        ("notes", "bado", 0, "jpq", "give 1 to 1000"),
        ("notes", "bado", 1001, "jpq", "give 1 to 1000"),
        ("notes", "b" * 4097, 10, "jpq", "more than 4096"),
        ("notes", "bado", 10, "bm25", "searched by jpq"),
        ("notes", "\ud800", 10, "jpq", "query"),
    ],
)
def test_a_wrong_request_is_told(indexes, name, query, hits, method, said):
    with pytest.raises(RequestError, match=said):
        indexes.search(name, query, hits, method)


def test_wrong_vectors_are_told(indexes, notes):
    served = indexes["notes"]
    vectors = notes.encode_queries(["bado", "kefa"])
    assert [pairs(hits) for hits in served.submit(vectors).result()] == [pairs(notes.search(v)) for v in vectors]
    for wrong in (vectors[:, :5], vectors * np.nan, np.zeros((0, 32), np.float32), np.zeros((65, 32), np.float32)):
        with pytest.raises(RequestError):
            served.submit(wrong)


def test_wrong_names_are_told(notes, tmp_path):
    for paths in ({}, {"a/b": notes.path}, {"..": notes.path}):
        with pytest.raises(JPQError):
            Indexes(paths)
    with pytest.raises(JPQError, match="no index has this name"):
        Indexes({"notes": notes.path}, lucene={"others": tmp_path})


class Slow:
    """A search that waits until it is let go, and notes its batches."""

    def __init__(self):
        self.go, self.batches = threading.Event(), []

    def __call__(self, queries, hits, threads):
        assert self.go.wait(20)
        self.batches.append((list(queries), hits))
        if "bad" in queries:
            raise ValueError("bad")
        return [f"{query}/{hits}" for query in queries]


def test_requests_that_wait_are_one_search():
    slow = Slow()
    batches = Batches(slow, list, "test", batch=4, waiting=9)
    first = batches.submit(["first"], 1)
    while batches.waiting:
        time.sleep(0.001)
    rest = [batches.submit([f"q{i}"], 10) for i in range(3)] + [batches.submit(["one", "two"], 10)]
    other = batches.submit(["other"], 5)
    cancelled = batches.submit(["gone"], 5)
    assert cancelled.cancel()
    bad = batches.submit(["bad"], 5)
    with pytest.raises(OverloadError):
        batches.submit(["too", "many"], 1)
    slow.go.set()
    batches.close()
    assert first.result() == ["first/1"] and [one.result() for one in rest[:3]] == [["q0/10"], ["q1/10"], ["q2/10"]]
    assert rest[3].result() == ["one/10", "two/10"] and other.result() == ["other/5"]
    assert isinstance(bad.exception(), ValueError)
    assert [(len(queries), hits) for queries, hits in slow.batches[:2]] == [(1, 1), (3, 10)]
    assert all("gone" not in queries for queries, _ in slow.batches)
    with pytest.raises(OverloadError):
        batches.submit(["late"], 1)


def test_workers_share_the_threads():
    both, shares = threading.Barrier(2), []

    def search(queries, hits, threads):
        if queries != ["alone"]:
            both.wait(20)
        shares.append(threads)
        return queries

    batches = Batches(search, list, "test", batch=1, waiting=9, threads=5)
    assert batches.submit(["alone"], 1).result(20) == ["alone"] and shares == [5]
    for future in [batches.submit([f"q{i}"], 1) for i in range(2)]:
        future.result(20)
    batches.close()
    assert sorted(shares[1:]) in ([2, 2], [2, 5])  # the first may begin before the second comes


def test_documents_are_read_while_the_next_batch_is_searched():
    come, went_on = threading.Event(), threading.Event()

    def search(queries, hits, threads):
        assert come.wait(20)
        if "q1" in queries:
            went_on.set()
        return queries

    def show(answers):
        assert went_on.wait(20)
        if "bad" in answers:
            raise ValueError("bad")
        return [f"{answer}!" for answer in answers]

    batches = Batches(search, show, "test", batch=2, waiting=9)
    first = [batches.submit([query], 1, shown=True) for query in ("q0", "bad")]
    while batches.waiting > 1:
        time.sleep(0.001)
    rest = [batches.submit([f"q{i}"], 1, shown=True) for i in range(1, 5)]
    come.set()
    batches.close()
    assert first[0].result() == ["q0!"] and isinstance(first[1].exception(), ValueError)
    assert [one.result() for one in rest] == [[f"q{i}!"] for i in range(1, 5)]


def test_an_answer_that_takes_too_long_is_given_up(notes):
    with Indexes({"notes": notes.path}, IndexOptions(seconds=0.05)) as indexes:
        slow = Slow()
        indexes["notes"]._batches["jpq"]._search = slow
        with pytest.raises(LateError):
            indexes.search("notes", "bado")
        slow.go.set()


def test_changes_are_taken_up_while_searches_go_on(make_notes, documents, tmp_path):
    """A document that comes and goes is found or not; all others are found, always, with their texts."""
    live = make_notes(tmp_path / "live")
    query = documents["d7"]["text"]
    new = {"title": "", "text": query}
    with Indexes({"live": live.path}, IndexOptions(threads=1)) as indexes, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()

        def search():
            answers = 0
            while not stop.is_set():
                found = indexes.search("live", query, hits=3)
                rest = [hit.docid for hit in found if hit.docid != "new"]
                assert rest[0] == "d7" and len(found) == 3
                assert all(hit.document.text for hit in found)
                answers += 1
            return answers

        running = [pool.submit(search) for _ in range(3)]
        changed = jpq.Index(live.path)
        for _ in range(10):
            changed.add(["new"], [new], encode_options=jpq.EncodeOptions(device="cpu", dtype="float32"))
            indexes["live"].refresh()
            assert indexes.search("live", query, hits=3)[1].docid in ("new", "d7")
            assert indexes.document("live", "new").text == query
            changed.delete(["new"])
            deadline = time.monotonic() + 20  # by the watch, this time
            while any(hit.docid == "new" for hit in indexes.search("live", query, hits=3)):
                assert time.monotonic() < deadline
        stop.set()
        assert all(one.result() > 0 for one in running)


def test_an_index_that_breaks_is_served_as_before(make_notes, documents, tmp_path, caplog):
    live = make_notes(tmp_path / "live")
    with Indexes({"live": live.path}) as indexes:
        before = pairs(indexes.search("live", "bado kefa"))
        text = (live.path / "jpq.json").read_text()
        (live.path / "jpq.json").write_text(text[:100])
        assert not indexes["live"].refresh()
        assert pairs(indexes.search("live", "bado kefa")) == before and "cannot be opened" in caplog.text
        (live.path / "jpq.json").unlink()
        assert not indexes["live"].refresh()
        (live.path / "jpq.json").write_text(text)
        assert indexes["live"].refresh()
        assert pairs(indexes.search("live", "bado kefa")) == before

"""REST as a client sees it, in this process: what is answered, and that nothing else is."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from fastapi.testclient import TestClient

from pyserini_jpq.errors import JPQError
from pyserini_jpq.serve.app import create_app
from pyserini_jpq.serve.guard import hosts_for
from pyserini_jpq.serve.indexes import Indexes
from pyserini_jpq.serve.keys import read_keys
from pyserini_jpq.serve.metrics import Metrics
from pyserini_jpq.serve.options import IndexOptions

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client(indexes):
    with TestClient(create_app(indexes, hosts=["testserver"]), raise_server_exceptions=False) as client:
        yield client


def docids(candidates):
    return [one["docid"] for one in candidates]


def test_search_answers_as_pyserini(client, notes, documents):
    query = documents["d7"]["text"]
    answer = client.get("/v1/notes/search", params={"query": query, "hits": 3})
    hits = notes.search(query, k=3)
    assert answer.status_code == 200 and answer.json() == {
        "api": "v1",
        "index": "notes",
        "query": {"text": query},
        "candidates": [
            {"docid": hit.docid, "score": pytest.approx(hit.score, abs=2e-6), "rank": i, "doc": of(hit)}
            for i, hit in enumerate(hits, 1)
        ],
    }
    assert re.fullmatch(r"search;dur=\d+\.\d\d", answer.headers["server-timing"])
    raw = client.get("/v1/notes/search", params={"query": query, "hits": 1, "parse": "false"}).json()["candidates"]
    assert json.loads(raw[0]["doc"]) == {"id": "d7", **documents["d7"]}
    short = client.get("/v1/notes/search", params={"query": query, "hits": 1, "max_doc_length": 5}).json()
    assert short["candidates"][0]["doc"] == {"title": documents["d7"]["title"], "text": documents["d7"]["text"][:5]}
    assert len(client.get("/v1/notes/search", params={"query": query}).json()["candidates"]) == 10
    assert client.get("/v1/bare/search", params={"query": query, "hits": 1}).json()["candidates"][0]["doc"] is None


def of(hit):
    return {"title": hit.title, "text": hit.text} if hit.title else hit.text


def test_a_document(client, documents):
    answer = client.get("/v1/notes/doc/d7")
    assert answer.json() == {"api": "v1", "index": "notes", "docid": "d7", "doc": documents["d7"]}
    assert client.get("/v1/notes/doc/a/b").json()["doc"] == documents["a/b"]["text"]  # a lone field is the document
    assert client.get("/v1/notes/doc/no%20such").status_code == 404
    assert client.get("/v1/bare/doc/d7").json() == {"error": "the index bare keeps no texts"}


def test_batches_of_texts_and_vectors(client, notes, documents):
    queries = [documents["d7"]["text"], documents["d8"]["text"]]
    answer = client.post("/v1/notes/search", json={"queries": queries, "hits": 4}).json()
    assert [one["query"] for one in answer["results"]] == [{"text": query} for query in queries]
    expected = [[hit.docid for hit in notes.search(query, k=4)] for query in queries]
    assert [docids(one["candidates"]) for one in answer["results"]] == expected
    named = client.post("/v1/notes/search", json={"queries": {"q1": queries[0]}, "hits": 4, "parse": False}).json()
    assert named["results"][0]["query"] == {"id": "q1", "text": queries[0]}
    assert isinstance(named["results"][0]["candidates"][0]["doc"], str)
    vectors = notes.encode_queries(queries).tolist()
    answer = client.post("/v1/notes/search", json={"vectors": vectors, "hits": 4}).json()
    assert [docids(one["candidates"]) for one in answer["results"]] == expected
    assert answer["results"][0]["query"] == {}


@pytest.mark.parametrize(
    "path",
    [
        "search",
        "search?query=+",
        "search?query=bado&hits=0",
        "search?query=bado&hits=x",
        "search?query=bado&hits=10000000000",
        "search?query=bado&hits=1001",
        "search?query=bado&parse=perhaps",
        "search?query=bado&parse=false&max_doc_length=3",
        "search?query=bado&max_doc_length=0",
        "search?query=bado&k1=.9&b=.4",
        "search?query=bado&method=bm25",
        "search?query=bado&method=/etc/passwd",
        "search?query=" + "b" * 5000,
    ],
)
def test_a_wrong_address_is_400(client, path):
    answer = client.get(f"/v1/notes/{path}")
    assert answer.status_code == 400 and list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"queries": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"queries": ["a"], "vectors": [[1]]}',
        b'{"queries": []}',
        b'{"queries": "a"}',
        b'{"queries": [1]}',
        b'{"queries": ["\\ud800"]}',
        b'{"queries": ["a"], "hits": true}',
        b'{"queries": ["a"], "hits": 1e3}',
        b'{"queries": ["a"], "hits": 99999999999999999999}',
        b'{"queries": ["a"], "max_doc_length": 0}',
        b'{"queries": ["a"], "path": "/etc/passwd"}',
        b'{"queries": ["a"], "method": "bm25"}',
        b'{"vectors": [[1, 2], [1]]}',
        b'{"vectors": [1, 2]}',
        b'{"vectors": [["a"]]}',
        b'{"vectors": [[1, 2]]}',
        b'{"vectors": [[NaN' + b", 0" * 31 + b"]]}",
        b'{"vectors": [[1e999' + b", 0" * 31 + b"]]}",
        b'{"vectors": {"a": 1}}',
        json.dumps({"queries": ["a"] * 65}).encode(),
        json.dumps({"queries": ["a"] * 64, "hits": 1000}).encode(),
    ],
)
def test_a_wrong_body_is_400(client, body):
    answer = client.post("/v1/notes/search", content=body)
    assert answer.status_code == 400 and list(answer.json()) == ["error"], answer.text


def test_too_large_a_body_is_413(client):
    assert client.post("/v1/notes/search", content=b"a" * ((1 << 20) + 1)).status_code == 413

    def parts():  # without a length
        for _ in range(20):
            yield b" " * 100_000

    assert client.post("/v1/notes/search", content=parts()).status_code == 413


TRAVERSALS = [
    *("/v1/notes/doc/../../../../etc/passwd", "/v1/notes/doc/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/static/..%2fapp.py"),
    *("/v1/..%2f..%2fetc/search?query=a", "/v1//etc/passwd/search?query=a", "/static/%2fetc%2fpasswd"),
    *("/v1/notes%00/search?query=a", "/v1/notes/doc/%00", "/document?index=../../etc&docid=passwd", "/static/app.py"),
    "/document?index=notes&docid=../../../etc/passwd",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_of_a_request_reaches_the_disk(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404) and "root:" not in answer.text and "import" not in answer.text


def test_routes_that_are_not_there_and_methods(client):
    assert client.get("/nothing").status_code == 404 and "error" in client.get("/nothing").json()
    assert client.delete("/v1/notes/search").status_code == 405
    assert client.get("/docs").status_code == 404  # it would load a script from elsewhere
    assert client.get("/v1/other/search", params={"query": "a"}).status_code == 400


def test_what_is_there_is_told(client, indexes):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/v1/indexes").json() == {"api": "v1", "indexes": indexes.about()}
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) >= {"/v1/{index}/search", "/v1/{index}/doc/{docid}", "/v1/indexes", "/health", "/metrics"}
    assert {p["name"] for p in paths["/v1/{index}/search"]["get"]["parameters"]} >= {"index", "query", "hits", "parse"}


def test_every_answer_has_the_headers_of_safety(client):
    for path in ("/", "/health", "/nothing", "/v1/notes/search", "/static/page.js"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"


def test_a_fault_shows_nothing_of_itself(client, indexes, monkeypatch, caplog):
    def broken(self, docid):
        raise RuntimeError("secret /home/somebody/index")

    monkeypatch.setattr(type(indexes["notes"]), "document", broken)
    answer = client.get("/v1/notes/doc/d7")
    assert answer.status_code == 500 and answer.json() == {"error": "internal error"}
    assert "secret" in caplog.text  # for who runs the server
    monkeypatch.undo()

    def failing(queries, hits):
        raise JPQError("/home/somebody/index is damaged")

    monkeypatch.setattr(indexes["notes"]._batches["jpq"], "_search", failing)
    for path in ("/v1/notes/search?query=a", "/?query=a"):
        answer = client.get(path)
        assert answer.status_code == 500 and "somebody" not in answer.text


def test_overload_is_429_and_lateness_503(notes):
    import threading
    from concurrent.futures import ThreadPoolExecutor

    options = IndexOptions(waiting=2, batch=2, seconds=0.5, threads=1)
    with Indexes({"notes": notes.path}, options) as indexes, TestClient(create_app(indexes)) as client:
        batches, go = indexes["notes"]._batches["jpq"], threading.Event()
        right = batches._search
        batches._search = lambda *asked: go.wait(20) and right(*asked)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: client.get(f"/v1/notes/search?query=bado{i}"), range(8)))
        status = sorted(answer.status_code for answer in answers)
        assert set(status) == {429, 503} and status.count(503) <= 4  # two in a search, two behind it
        assert all(answer.headers["retry-after"] == "1" for answer in answers)
        go.set()
        while batches.waiting:
            pass
        assert client.get("/v1/notes/search?query=bado").status_code == 200


def test_metrics_count_routes_not_paths(indexes, notes):
    metrics = Metrics()
    with Indexes({"n": notes.path}, observe=metrics.searched) as own:
        client = TestClient(create_app(own, metrics=metrics))
        for i in range(3):
            client.get(f"/v1/n/search?query=bado{i}")
            client.get(f"/nothing/{i}")
        text = client.get("/metrics").text
    assert 'jpq_requests_total{route="/v1/{index}/search",status="200"} 3.0' in text
    assert 'jpq_requests_total{route="none",status="404"} 3.0' in text
    assert f'jpq_documents{{index="n"}} {float(len(notes))}' in text
    assert 'jpq_batch_queries_sum{index="n",method="jpq"} 3.0' in text
    assert 'jpq_waiting_queries{index="n"} 0.0' in text and "process_resident_memory_bytes" in text


def test_keys(indexes, tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\n0123456789abcdef\n\nfedcba9876543210\n")
    client = TestClient(create_app(indexes, keys=read_keys(file)))
    path = "/v1/notes/doc/d7"
    for headers in (
        {"X-API-Key": "fedcba9876543210"},
        {"Authorization": "Bearer 0123456789abcdef"},
    ):
        assert client.get(path, headers=headers).status_code == 200
    assert client.get("/", auth=("anybody", "0123456789abcdef")).status_code == 200
    for headers in (
        {},
        {"X-API-Key": "0123456789abcdeF"},
        {"X-API-Key": "0123456789abcdef0"},
        {"X-API-Key": "# ours"},
        {"X-API-Key": ""},
        {"X-API-Key": b"\xff\xfe"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic !!!"},
        {"Authorization": b"Basic \xff"},
        {"Authorization": "Basic MDEyMzQ1Njc4OWFiY2RlZg=="},  # as the name, not as the password
    ):
        for place in (path, "/", "/metrics", "/openapi.json", "/static/page.css", "/nothing"):
            answer = client.get(place, headers=headers)
            assert answer.status_code == 401 and "www-authenticate" in answer.headers
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("text", ["", "# nothing\n", "short\n", "0123456789 abcdef\n", "0123456789abcdefé\n"])
def test_keys_that_cannot_be_used(text, tmp_path):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(JPQError):
        read_keys(tmp_path / "keys")


def test_only_its_own_names(indexes):
    local = hosts_for("127.0.0.1", [])
    client = TestClient(create_app(indexes, hosts=local))
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1", "[::1]"):
        assert client.get("/health", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "localhost:evil.example", ""):
        assert client.get("/health", headers={"Host": host}).status_code == 400
    assert hosts_for("0.0.0.0", []) is None and hosts_for("0.0.0.0", ["A.example"]) == ["a.example"]
    assert "proxy.example" in hosts_for("localhost", ["proxy.example"])


def test_same_answers_in_a_batch_as_alone(client, documents):
    """Scores may differ in the last digit where a batch pads texts; docids and their order may not."""
    queries = [document["text"] for document in list(documents.values())[:32]]
    together = client.post("/v1/notes/search", json={"queries": queries}).json()["results"]
    for query, one in zip(queries, together, strict=True):
        alone = client.get("/v1/notes/search", params={"query": query}).json()["candidates"]
        ours, theirs = ([c["score"] for c in found] for found in (one["candidates"], alone))
        assert np.allclose(ours, theirs, atol=2e-6)

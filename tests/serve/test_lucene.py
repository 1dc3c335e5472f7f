"""BM25, fusion and texts of a Lucene index; and answer by answer the same as Pyserini's own server."""

import json

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
from fastapi.testclient import TestClient

from pyserini_jpq.compat import pyserini
from pyserini_jpq.errors import JPQError
from pyserini_jpq.serve.app import create_app
from pyserini_jpq.serve.fusing import rrf
from pyserini_jpq.serve.indexes import Indexes

pytestmark = pytest.mark.integration

MORE = {
    "d1": {"title": "a title"},
    "d2": {"year": 1994, "authors": ["A", {"name": "B"}], "note": None, "true": True},
    "d3": {"title": "", "url": "http://example.org/?a=b&c"},
}
"""Further fields, of all that JSON has."""


@pytest.fixture(scope="module")
def folder(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lucene") / "index"
    indexer = pyserini.lucene_indexer()(str(folder), threads=1)
    for docid, document in documents.items():
        indexer.add_doc_dict(
            {"id": docid, "contents": f"{document['title']} {document['text']}", **MORE.get(docid, {})}
        )
    indexer.close()
    return folder


@pytest.fixture(scope="module")
def opened(indexes, folder):
    with Indexes({"both": indexes["bare"].index.path}, lucene={"both": folder}) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(opened):
    with TestClient(create_app(opened), raise_server_exceptions=False) as client:
        yield client


def pairs(hits):
    return [(hit.docid, pytest.approx(hit.score, abs=1e-6)) for hit in hits]


def test_bm25_is_that_of_pyserini(opened, folder, documents):
    query = documents["d7"]["text"]
    found = opened.search("both", query, hits=20, method="bm25")
    assert [(hit.docid, hit.score) for hit in found] == pairs(pyserini.lucene_searcher()(str(folder)).search(query, 20))
    assert opened.about()[0]["methods"] == ["jpq", "bm25", "rrf"]
    best = opened.search("both", query, hits=1)[0]
    assert best.docid == "d7" and documents["d7"]["text"] in best.document.text


def test_fusion_adds_reciprocal_ranks(opened, documents):
    query = documents["d7"]["text"]
    ours, theirs = (opened.search("both", query, hits=1000, method=method) for method in ("jpq", "bm25"))
    scores = {}
    for found in (ours, theirs):
        for hit in found:
            scores[hit.docid] = scores.get(hit.docid, 0) + 1 / (60 + hit.rank)
    fused = opened.search("both", query, hits=25, method="rrf")
    assert [hit.score for hit in fused] == pytest.approx(sorted(scores.values(), reverse=True)[:25])
    assert all(hit.score == pytest.approx(scores[hit.docid]) for hit in fused)
    assert [hit.docid for hit in rrf([ours, theirs], 5)] == [hit.docid for hit in fused[:5]]


def test_what_lucene_cannot_open(indexes, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(JPQError, match="Lucene"):
        Indexes({"both": indexes["bare"].index.path}, lucene={"both": tmp_path / "empty"})


def test_answer_by_answer_as_pyserinis_server(client, folder, documents, tmp_path):
    try:
        server = pyserini._class("pyserini.server.rest.app", "create_app")
    except (ImportError, AttributeError, JPQError):
        pytest.skip("this Pyserini has no server for folders; 2.x has")
    (tmp_path / "server.yaml").write_text(json.dumps({"indexes": {"both": str(folder)}}))
    with TestClient(server(str(tmp_path / "server.yaml"), no_prebuilt_indexes=True)) as theirs:
        queries = [documents[docid]["text"] for docid in ("d1", "d2", "d3", "d7", "a/b")] + ["nowhere", 'bado "kefa"']
        more = [
            {},
            {"hits": 3},
            {"parse": "false"},
            {"parse": "True"},
            {"hits": "2", "max_doc_length": "7"},
            {"hits": ""},
        ]
        for query in queries:
            for parameters in more:
                parameters = {"query": query, **parameters}
                expected = theirs.get("/v1/both/search", params=parameters)
                answer = client.get("/v1/both/search", params={**parameters, "method": "bm25"})
                assert (answer.status_code, answer.json()) == (200, expected.json()), parameters
        for docid in ("d1", "d2", "d3", "d7", "c%231", "50%25", "it's", 'q"', "nothing"):
            for parameters in ({}, {"parse": "false"}, {"max_doc_length": "4"}):
                expected = theirs.get(f"/v1/both/doc/{docid}", params=parameters)
                answer = client.get(f"/v1/both/doc/{docid}", params=parameters)
                assert (answer.status_code, answer.json()) == (expected.status_code, expected.json()), docid
        for path in ("search", "search?query=a&hits=0", "search?query=a&hits=x", "search?query=a&parse=1"):
            expected, answer = theirs.get(f"/v1/both/{path}"), client.get(f"/v1/both/{path}")
            assert (answer.status_code, answer.json()) == (expected.status_code, expected.json())
        for path in ("/v1/other/search?query=a", "/nothing", "/v1/other/doc/d1"):
            expected, answer = theirs.get(path), client.get(path)
            assert answer.status_code == expected.status_code and list(answer.json()) == list(expected.json())

import pytest

pytest.importorskip("prometheus_client")
from fastapi.testclient import TestClient

import pyserini_jpq as jpq
from benchmarks import serving
from benchmarks.stock_server import stock_app
from pyserini_jpq import cli


@pytest.mark.integration
def test_our_server_is_loaded(built, tiny_collection, capfd):
    """Both servers start a JVM or torch each: the other one is measured by hand."""
    flags = ["--index", built / "x.jpq-m4", "--topics", tiny_collection / "topics.dev.tsv", "--documents", 2000]
    flags += ["--clients", 2, "--seconds", 0.5, "--rounds", 1, "--only", "ours"]
    assert cli.run(serving.main, list(map(str, flags))) == 0
    header, row = (line.split() for line in capfd.readouterr().out.splitlines())
    assert header[:2] == ["server", "clients"] and row[:2] == ["ours", "2"]
    assert float(row[2]) > 0 and float(row[3]) <= float(row[4]) and int(row[5]) == 0 and float(row[-1]) > 10


@pytest.mark.integration
def test_the_stock_server_finds_what_ours_does(built):
    app = stock_app(str(built / "x.jpq-m4"), str(built / "enc" / "x.jpq-m4"))
    answer = TestClient(app).get("/v1/bench/search", params={"query": "bado kefa", "hits": 5}).json()
    hits = jpq.Index(built / "x.jpq-m4").search("bado kefa", k=5)
    found = [(one["docid"], one["score"]) for one in answer["candidates"]]
    assert found == [(hit.docid, pytest.approx(hit.score, abs=1e-4)) for hit in hits]

"""The servers of Pyserini 2 over our indexes: what REST and MCP answer, and what is refused."""

import asyncio
import importlib.metadata
import io
import json
import re

import pytest
import yaml

import pyserini_jpq as jpq
from pyserini_jpq.compat.loading import load
from tests.conftest import WORDS, run

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        importlib.metadata.version("pyserini").startswith("1."), reason="the server of Pyserini 1 takes no local index"
    ),
]
QUERY = " ".join(WORDS[3:6])


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    """Answer what Pyserini fetches to know its prebuilt indexes: there are none."""
    monkeypatch.setattr(load("pyserini.prebuilt_index_info"), "urlopen", lambda *_, **__: io.BytesIO(b"[]"))


@pytest.fixture(scope="module")
def notes(built, tiny_collection, tmp_path_factory):
    """A trained index with texts: its query encoder is another than that of its documents."""
    path = built / "x.jpq-m4"
    assert run("index", "--index", path, "--texts", tiny_collection) == 0
    return path


@pytest.fixture(scope="module")
def config(notes, built, tiny_encoder, tmp_path_factory):
    """What an administrator writes: our type, and what people would try before they know of it."""
    folder = tmp_path_factory.mktemp("server")
    encoder = str(built / "enc" / "x.jpq-m4")
    indexes = {
        "notes": {"path": str(notes), "index_type": "jpq"},
        "faiss": {"path": str(notes), "index_type": "faiss", "encoder": encoder},
        "wrong": {"path": str(notes), "index_type": "faiss", "encoder": str(tiny_encoder)},
        "unnamed": {"path": str(notes), "index_type": "jpq", "encoder": str(tiny_encoder)},
        "textless": {"path": str(built / "x.opq-m4"), "index_type": "jpq"},
        "bare": str(notes),
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"indexes": indexes}))
    return path


@pytest.fixture(scope="module")
def expected(notes):
    """The hits by our own search, rounded as the servers round."""
    return [(hit.docid, round(hit.score, 6)) for hit in jpq.Index(notes).search(QUERY)]


def candidates(answer):
    return [(hit["docid"], pytest.approx(hit["score"], abs=2e-6)) for hit in answer["candidates"]]


@pytest.fixture(scope="module")
def backend(config):
    backend = load("pyserini.server.backend").SharedSearchBackend(str(config), no_prebuilt_indexes=True)
    yield backend
    backend.close_all()


@pytest.mark.parametrize("name", ["notes", "faiss"])
def test_hits_and_documents_are_ours(backend, notes, expected, name):
    answer = backend.search(QUERY, name)
    assert candidates(answer) == expected
    text = jpq.Index(notes).texts["d7"]
    assert answer["candidates"][0]["doc"].keys() == {"title", "text"}
    assert backend.get_document("d7", name) == {"title": text.title, "text": text.text}
    assert json.loads(backend.get_document("d7", name, parse=False))["id"] == "d7"
    with pytest.raises(load("pyserini.server.errors").DocumentNotFoundError):
        backend.get_document("d7000", name)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("wrong", r"cannot be served: .*encoder"),
        ("unnamed", r"cannot be served: .*encoder"),
        ("textless", r"keeps no texts: give a `base_index`"),
        ("bare", "is a JPQ index; name it in the --config, with `index_type: jpq`"),
    ],
)
def test_what_would_rank_wrongly_is_refused(backend, caplog, name, line):
    with pytest.raises(load("pyserini.server.errors").IndexNotAvailableError, match="Unable to open index"):
        backend.search(QUERY, name)
    (record,) = (record for record in caplog.records if record.name == "pyserini_jpq")
    assert re.search(line, record.message) and "\n" not in record.message


def test_rest(config, expected):
    from fastapi.testclient import TestClient

    with TestClient(load("pyserini.server.rest.app").create_app(str(config), no_prebuilt_indexes=True)) as client:
        answer = client.get("/v1/notes/search", params={"query": QUERY})
        assert answer.status_code == 200 and candidates(answer.json()) == expected
        assert set(client.get("/v1/notes/doc/d7").json()["doc"]) == {"title", "text"}
        refused = client.get("/v1/wrong/search", params={"query": QUERY})
        assert (refused.status_code, refused.json()) == (400, {"error": "Unable to open index: wrong"})


def test_mcp_beside_prebuilt_indexes(notes, built, tiny_collection, expected, tmp_path):
    """Aliases are looked up among the prebuilt indexes, too, and a Lucene index has the texts."""
    from fastmcp import Client, FastMCP

    indexer = load("pyserini.index.lucene").LuceneIndexer(str(tmp_path / "lucene"))
    for line in (tiny_collection / "documents.jsonl").read_text().splitlines():
        document = json.loads(line)
        indexer.add_doc_dict({"id": document["id"], "contents": document["text"]})
    indexer.close()
    encoder = str(built / "enc" / "x.jpq-m4")
    ours = {"path": str(notes), "encoder": encoder, "base_index": "lucene"}
    indexes = {
        "lucene": str(tmp_path / "lucene"),
        "notes": {**ours, "index_type": "jpq"},
        "faiss": {**ours, "index_type": "faiss"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"indexes": indexes}))
    backend = load("pyserini.server.backend").SharedSearchBackend(str(tmp_path / "config.yaml"))
    server = FastMCP("test")
    load("pyserini.server.mcp.tools").register_tools(server, backend)

    async def ask(name):
        async with Client(server) as client:
            found = await client.call_tool("search", {"query": QUERY, "index": name})
            return [part.text for part in found.content]

    for name in ("notes", "faiss"):
        text = "\n".join(asyncio.run(ask(name)))
        found = re.findall(r"DocID: (\w+) \| Score: ([-\d.]+)", text)
        assert [(docid, pytest.approx(float(score), abs=2e-6)) for docid, score in found] == expected
    with pytest.raises(load("pyserini.server.errors").IndexNotAvailableError, match="is a JPQ index"):
        backend.search(QUERY, str(notes))
    backend.close_all()

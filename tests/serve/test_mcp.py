"""The tools of MCP by the official Python client: in this process, by stdio, and over HTTP."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

import pyserini_jpq as jpq
from tests.conftest import WORDS

mcp = pytest.importorskip("mcp", reason="mcp is not installed")
pytestmark = pytest.mark.integration
QUERY = " ".join(WORDS[3:6])


@pytest.fixture(scope="module")
def server(indexes):
    from pyserini_jpq.serve.mcp import mcp_server

    return mcp_server(indexes)


def call(server, *calls):
    """Return the results of calls: tool and arguments."""

    async def go():
        async with mcp.Client(server) as client:
            return [await client.call_tool(tool, arguments) for tool, arguments in calls]

    return asyncio.run(go())


def value(result):
    """Return what a tool returned; text and structured form are the same."""
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


def hits_of(answer):
    return [(hit["docid"], hit["score"]) for hit in answer["hits"]]


def test_tools_are_described_for_a_model(server):
    async def go():
        async with mcp.Client(server) as client:
            return (await client.list_tools()).tools, client.instructions

    tools, instructions = asyncio.run(go())
    assert {tool.name for tool in tools} == {"search", "get_document", "list_indexes"}
    search = next(tool for tool in tools if tool.name == "search")
    assert search.input_schema["required"] == ["query"] and search.input_schema["properties"]["hits"]["default"] == 10
    assert "get_document" in search.description and "notes (" in instructions


def test_hits_are_those_of_the_index(server, notes):
    found, whole, listed = map(
        value, call(server, ("search", {"query": QUERY}), ("get_document", {"docid": "a/b"}), ("list_indexes", {}))
    )
    assert hits_of(found) == [(hit.docid, hit.score) for hit in notes.search(QUERY)] and found["index"] == "notes"
    assert found["hits"][0]["text"] == notes.search(QUERY)[0].text
    assert whole["text"] == notes.texts["a/b"].text
    assert [index["name"] for index in listed["indexes"]] == ["notes", "bare"]


def test_long_texts_are_cut_among_hits(server, monkeypatch):
    monkeypatch.setattr("pyserini_jpq.serve.mcp.SHORT", 4)
    (found,) = map(value, call(server, ("search", {"query": QUERY, "hits": 2})))
    assert [len(hit["text"]) for hit in found["hits"]] == [4, 4]


@pytest.mark.parametrize(
    ("tool", "arguments", "line"),
    [
        ("search", {"query": QUERY, "index": "../etc"}, "no index is named"),
        ("search", {"query": " "}, "empty"),
        ("search", {"query": QUERY, "hits": 0}, "hits"),
        ("search", {"query": QUERY, "method": "bm25"}, "is searched by jpq"),
        ("search", {}, "query"),
        ("get_document", {"docid": "d7000"}, "Document not found: d7000"),
        ("get_document", {"docid": "d1", "index": "bare"}, "keeps no texts"),
    ],
)
def test_what_is_wrong_is_told_to_the_model(server, notes, tool, arguments, line):
    (result,) = call(server, (tool, arguments))
    assert result.is_error and line in result.content[0].text
    assert str(notes.path.parent) not in result.content[0].text and "Traceback" not in result.content[0].text


@pytest.mark.skipif(sys.platform == "win32", reason="what is written is noted by a shell")
def test_stdio_says_nothing_but_the_protocol(notes, tmp_path):
    from mcp.client.stdio import StdioServerParameters, stdio_client

    noted = tmp_path / "stdout"
    words = [sys.executable, "-m", "pyserini_jpq.serve", f"notes={notes.path}", "--mcp", "stdio"]
    command = ["-c", 'out="$1"; shift; "$@" | tee "$out"', "sh", str(noted), *words]

    async def go():
        transport = stdio_client(StdioServerParameters(command="sh", args=command, env=environment()))
        async with mcp.Client(transport) as client:
            return value(await client.call_tool("search", {"query": QUERY}))

    assert hits_of(asyncio.run(go())) == [(hit.docid, hit.score) for hit in jpq.Index(notes.path).search(QUERY)]
    lines = noted.read_text().splitlines()
    assert len(lines) >= 2 and all(json.loads(line)["jsonrpc"] == "2.0" for line in lines)


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(jpq.__file__).parents[1])}


def test_http_behind_the_guard(indexes, notes):
    from starlette.testclient import TestClient

    from pyserini_jpq.serve.mcp import mcp_app
    from pyserini_jpq.serve.metrics import Metrics

    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    ask["params"] = {"name": "search", "arguments": {"query": QUERY}}
    headers = {"Accept": "application/json, text/event-stream", "Host": "localhost"}
    app = mcp_app(indexes, metrics=Metrics(), hosts=["localhost"])
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.post("/mcp", json=ask, headers=headers)
        assert answer.status_code == 200, answer.text
        assert hits_of(answer.json()["result"]["structuredContent"]) == [
            (hit.docid, hit.score) for hit in notes.search(QUERY)
        ]
        assert client.post("/mcp", json=ask, headers={**headers, "Host": "evil.example"}).status_code == 400

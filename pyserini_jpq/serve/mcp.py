"""The Model Context Protocol over open indexes: three tools, by stdio or HTTP, for a model to use.

Source: the Python SDK `mcp` 2.3 (https://modelcontextprotocol.io).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import to_thread

from pyserini_jpq import __version__, cli
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.compat.loading import stdout_to_stderr
from pyserini_jpq.errors import InstallationError, first_line, how_to_install
from pyserini_jpq.serve.documents import Stored
from pyserini_jpq.serve.errors import RequestError
from pyserini_jpq.serve.indexes import Indexes
from pyserini_jpq.serve.options import IndexOptions

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError as problem:
    raise InstallationError(f"--mcp needs mcp ({first_line(problem)}): {how_to_install('mcp')}") from problem

PATH = "/mcp"
SHORT = 1000
"""Characters of a text among hits; `get_document` returns all of it."""
_WHAT = """\
Searches collections of documents by meaning (dense retrieval), and returns the texts of documents. Ask `search` a \
question or describe what a document would say; a docid of a hit goes to `get_document`. Indexes: {indexes}."""

T = TypeVar("T")


def mcp_server(indexes: Indexes) -> Any:
    """Return the server of the tools `search`, `get_document` and `list_indexes` over open indexes."""
    first = next(iter(indexes))
    names = ", ".join(f"{about['name']} ({about['documents']} documents)" for about in indexes.about())
    server = MCPServer(
        "pyserini_jpq", instructions=_WHAT.format(indexes=names), version=__version__, log_level="WARNING"
    )

    async def search(query: str, index: str = first, hits: int = 10, method: str = "jpq") -> dict[str, Any]:
        """Search an index for documents about a query, best first.

        Ask in a sentence or a few words, as you would ask a librarian; there are no operators, and quotes or minus
        signs mean nothing. Each hit has docid, score (higher is better, comparable within one answer only), title, and
        the beginning of the text; call get_document for the whole text before you rely on details. If the hits do not
        answer, ask again in other words.

        Args:
            query: What to look for, in natural language
            index: Name of the index; list_indexes tells which there are
            hits: Number of documents to return
            method: jpq by meaning; where list_indexes says so, also bm25 by words, and rrf, which fuses both
        """
        found = await _answered(partial(indexes.search, index, query, hits, method))
        shown = [{"docid": hit.docid, "score": hit.score, **_shown(hit.document, SHORT)} for hit in found]
        return {"index": index, "query": query, "hits": shown}

    async def get_document(docid: str, index: str = first) -> dict[str, Any]:
        """Return a document's title and whole text, by a docid that search returned.

        Args:
            docid: The docid of a hit
            index: Name of the index that was searched
        """
        document = await _answered(partial(indexes.document, index, docid))
        return {"index": index, "docid": docid, **_shown(document, None)}

    async def list_indexes() -> dict[str, Any]:
        """List the indexes that can be searched: name, number of documents, methods, and whether texts are stored."""
        kept = ("name", "documents", "methods", "texts")
        return {"indexes": [{name: about[name] for name in kept} for about in indexes.about()]}

    for tool in (search, get_document, list_indexes):
        server.add_tool(tool)
    return server


def serve_stdio(
    paths: Mapping[str, str | Path], lucene: Mapping[str, Path], options: IndexOptions, cluster: Cluster | None = None
) -> None:
    """Answer one client on standard input and output until it leaves; nothing but the protocol is written there."""
    with stdout_to_stderr():
        indexes = Indexes(paths, options, lucene, cluster=cluster)
    with indexes:
        cli.say(f"serving {', '.join(indexes)} by MCP on standard input and output")
        mcp_server(indexes).run("stdio")


def mcp_app(
    indexes: Indexes, *, metrics: Any, keys: Any = None, hosts: Sequence[str] | None = None, most_bytes: int = 1 << 20
) -> Any:
    """Return the web application that speaks the protocol at `/mcp`; parameters are those of `create_app`."""
    from mcp.server.transport_security import TransportSecuritySettings

    from pyserini_jpq.serve.guard import Guard

    # The guard knows by which hosts it is asked. Each request is answered at once, so that none stays open.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = mcp_server(indexes).streamable_http_app(
        streamable_http_path=PATH, json_response=True, stateless_http=True, transport_security=security
    )
    metrics.watch(indexes)
    return Guard(app, metrics, keys, hosts, most_bytes)


async def _answered(ask: Callable[[], T]) -> T:
    """Ask in a thread; what is wrong with a request is told to the model, which can mend it."""
    try:
        return await to_thread.run_sync(ask)
    except RequestError as problem:
        raise ToolError(str(problem)) from None


def _shown(document: Stored | None, longest: int | None) -> dict[str, Any]:
    if document is None:
        return {}
    return {"title": document.title, "text": document.text[:longest]}

"""The search page: HTML from the server, which works without the script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment

from pyserini_jpq.serve.errors import MissingError, RequestError
from pyserini_jpq.serve.indexes import Indexes
from pyserini_jpq.serve.requests import HITS, wanted_by
from pyserini_jpq.serve.rest import searched
from pyserini_jpq.serve.served import Found
from pyserini_jpq.serve.snippets import marked, snippet, words_of

_TYPES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
router = APIRouter()


@dataclass(frozen=True)
class Column:
    """The results of one index, or why there are none."""

    name: str
    method: str
    results: Sequence[Mapping[str, Any]] = ()
    seconds: float = 0.0
    wrong: str = ""


@router.get("/")
async def page(request: Request) -> HTMLResponse:
    """Return the page, with results where a query is given."""
    indexes: Indexes = request.app.state.indexes
    parameters = request.query_params
    query = parameters.get("query", "")
    names = [parameters.get("index") or next(iter(indexes)), *filter(None, [parameters.get("beside")])]
    columns: list[Column] = []
    if query.strip():
        for name in names:
            columns.append(await _column(indexes, name, query, parameters, columns))
    status = 400 if any(column.wrong for column in columns) else 200
    shown = {
        "query": query,
        "choices": [(name, method) for name in indexes for method in indexes[name].methods],
        "chosen": [*names, ""][:2],
        "columns": columns,
        "hits": parameters.get("hits", str(HITS)),
        "about": indexes.about(),
    }
    return HTMLResponse(await run_in_threadpool(_render, "page.html", shown), status)


@router.get("/document")
def document(request: Request) -> HTMLResponse:
    """Return a document as a page; index and docid are parameters, which may hold any character."""
    indexes: Indexes = request.app.state.indexes
    parameters = request.query_params
    name, docid = parameters.get("index", ""), parameters.get("docid", "")
    words = words_of(parameters.get("query", ""))
    try:
        found = indexes.document(name, docid)
    except RequestError as problem:
        shown = {"wrong": "There is no such document." if isinstance(problem, MissingError) else str(problem)}
        return HTMLResponse(_render("document.html", shown), problem.status)
    parts = {"title": marked(found.title, words), "text": marked(found.text, words)}
    return HTMLResponse(_render("document.html", {"docid": docid, "index": name, **parts}))


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Return a file of the page; its name is looked up in a list, not on the disk."""
    if name not in _TYPES:
        return Response(status_code=404)
    return Response(_file(name), media_type=_TYPES[name], headers={"Cache-Control": "max-age=3600"})


async def _column(
    indexes: Indexes, choice: str, query: str, parameters: Mapping[str, str], before: Sequence[Column]
) -> Column:
    """Search an index, named as `NAME` or `NAME:METHOD`."""
    name, _, method = choice.partition(":")
    method = method or "jpq"
    try:
        wanted = wanted_by({"hits": parameters.get("hits", ""), "method": method})
        found, seconds = await searched(indexes[name], [query], wanted)
    except RequestError as problem:
        return Column(name, method, wrong=str(problem))
    ranks = {hit["docid"]: hit["rank"] for hit in before[0].results} if before and not before[0].wrong else None
    words = words_of(query)
    results = await run_in_threadpool(lambda: [_result(hit, words, ranks) for hit in found[0]])
    return Column(name, method, results, seconds)


def _result(hit: Found, words: set[str], ranks: Mapping[str, int] | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"docid": hit.docid, "score": f"{hit.score:.4f}", "rank": hit.rank, "moved": ""}
    if hit.document is not None:
        shown |= {"title": list(marked(hit.document.title, words)), "text": snippet(hit.document.text, words)}
    if ranks is not None:
        by = ranks.get(hit.docid, 0) - hit.rank
        shown["moved"] = (
            "new" if hit.docid not in ranks else "same" if not by else f"up {by}" if by > 0 else f"down {-by}"
        )
    return shown


@cache
def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath("static", name).read_bytes()


@cache
def _templates() -> Environment:
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)


@cache
def _template(name: str) -> Any:
    return _templates().from_string(_file(name).decode())


def _render(name: str, shown: Mapping[str, Any]) -> str:
    html: str = _template(name).render(shown)
    return html

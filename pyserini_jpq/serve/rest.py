"""The REST routes: those of Pyserini and Anserini, with the same JSON, and ours beside them."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from pyserini_jpq.serve.batches import Queries
from pyserini_jpq.serve.errors import LateError, MissingError
from pyserini_jpq.serve.indexes import Indexes
from pyserini_jpq.serve.metrics import CONTENT_TYPE
from pyserini_jpq.serve.requests import Wanted, batch_of, query_of, wanted_by
from pyserini_jpq.serve.schema import BATCH, DOCUMENT, SEARCH
from pyserini_jpq.serve.served import Found, Served

_DECIMALS = 6
"""Of a score, as in Pyserini's server."""

router = APIRouter()


@router.get("/health", summary="Whether the server answers")
async def health() -> dict[str, str]:
    """Return that it does."""
    return {"status": "ok"}


@router.get("/metrics", summary="Counters, for Prometheus", response_class=Response)
def metrics(request: Request) -> Response:
    """Return the counters."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/v1/indexes", summary="The indexes")
async def list_indexes(request: Request) -> dict[str, Any]:
    """Return what is known of each index."""
    return {"api": "v1", "indexes": _indexes(request).about()}


@router.get("/v1/{index}/search", summary="Search for a text", openapi_extra=SEARCH)
async def search(request: Request, index: str) -> JSONResponse:
    """Return the hits of a query, with their documents."""
    query, wanted = query_of(request.query_params), wanted_by(request.query_params)
    served = _indexes(request)[index]
    found, seconds = await searched(served, [query], wanted)
    answer = {"api": "v1", "index": index, "query": {"text": query}, "candidates": _candidates(found[0], wanted)}
    return _timed(answer, seconds)


@router.post("/v1/{index}/search", summary="Search for several texts, or for vectors", openapi_extra=BATCH)
async def search_batch(request: Request, index: str) -> JSONResponse:
    """Return the hits of each query, in the order of the queries."""
    queries, ids, wanted = await run_in_threadpool(batch_of, await request.body())
    found, seconds = await searched(_indexes(request)[index], queries, wanted)
    texts = queries if isinstance(queries, list) else [None] * len(found)
    results = [
        {"query": _query(qid, text), "candidates": _candidates(of_query, wanted)}
        for qid, text, of_query in zip(ids, texts, found, strict=True)
    ]
    return _timed({"api": "v1", "index": index, "results": results}, seconds)


@router.get("/v1/{index}/doc/{docid:path}", summary="Return a document", openapi_extra=DOCUMENT)
def document(request: Request, index: str, docid: str) -> dict[str, Any]:
    """Return a document by its docid, which may hold any character."""
    wanted, served = wanted_by(request.query_params), _indexes(request)[index]
    try:
        found = served.document(docid)
    except MissingError:
        # Pyserini's server decodes twice, so its clients may have encoded twice.
        if (docid := unquote(docid)) == request.path_params["docid"]:
            raise
        found = served.document(docid)
    return {"api": "v1", "index": index, "docid": docid, "doc": found.shown(wanted.parse, wanted.longest)}


async def searched(served: Served, queries: Queries, wanted: Wanted) -> tuple[list[list[Found]], float]:
    """Return the hits of each query with their documents, and the seconds that it took.

    Raises
    ------
    RequestError
        If the request is wrong, too many wait, or it takes longer than the limit.
    """
    started = time.perf_counter()
    answer = asyncio.wrap_future(served.submit(queries, wanted.hits, wanted.method))
    try:
        found = await asyncio.wait_for(answer, served.options.seconds)
    except TimeoutError:
        raise LateError(f"no answer within {served.options.seconds:g} seconds; send this request again soon") from None
    return found, time.perf_counter() - started


def _indexes(request: Request) -> Indexes:
    indexes: Indexes = request.app.state.indexes
    return indexes


def _candidates(found: Sequence[Found], wanted: Wanted) -> list[dict[str, Any]]:
    return [
        {
            "docid": hit.docid,
            "score": round(hit.score, _DECIMALS),
            "rank": hit.rank,
            "doc": None if hit.document is None else hit.document.shown(wanted.parse, wanted.longest),
        }
        for hit in found
    ]


def _query(qid: str | None, text: str | None) -> dict[str, str]:
    return {name: value for name, value in (("id", qid), ("text", text)) if value is not None}


def _timed(answer: dict[str, Any], seconds: float) -> JSONResponse:
    return JSONResponse(answer, headers={"Server-Timing": f"search;dur={1e3 * seconds:.2f}"})

"""The web application: REST and the search page over open indexes."""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pyserini_jpq import __version__
from pyserini_jpq.serve import page, rest
from pyserini_jpq.serve.errors import RequestError
from pyserini_jpq.serve.guard import Guard, error
from pyserini_jpq.serve.indexes import Indexes
from pyserini_jpq.serve.keys import Keys
from pyserini_jpq.serve.metrics import Metrics

_NO_ROUTE = "Expected route /v1/{index}/search or /v1/{index}/doc/{docid}"


def create_app(
    indexes: Indexes,
    *,
    metrics: Metrics | None = None,
    keys: Keys | None = None,
    hosts: Sequence[str] | None = None,
    most_bytes: int = 1 << 20,
) -> FastAPI:
    """Return the application; the caller closes the indexes after it.

    Parameters
    ----------
    indexes
        The indexes to serve.
    metrics
        Where requests are counted; the same that the indexes report their searches to.
    keys, hosts, most_bytes
        As in `Guard`.
    """
    # Without docs_url: that page would load its script from elsewhere.
    app = FastAPI(title="pyserini_jpq", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.indexes, app.state.metrics = indexes, metrics or Metrics()
    app.state.metrics.watch(indexes)
    app.include_router(rest.router)
    app.include_router(page.router, include_in_schema=False)
    app.add_exception_handler(RequestError, _wrong)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Guard, metrics=app.state.metrics, keys=keys, hosts=hosts, most_bytes=most_bytes)
    return app


async def _wrong(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, RequestError)
    return error(problem.status, str(problem))


async def _http(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, HTTPException)
    message = {404: _NO_ROUTE, 405: "method not allowed"}.get(problem.status_code, problem.detail)
    return error(problem.status_code, message, problem.headers)

"""What every request passes first and last: host, key, size, headers of safety, counting, errors without detail."""

import time
import traceback
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pyserini_jpq import cli
from pyserini_jpq.serve.keys import Keys
from pyserini_jpq.serve.metrics import Metrics

OPEN = ("/health",)
"""Paths that need no key."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware around the application.

    Parameters
    ----------
    app
        The application.
    metrics
        Where requests are counted.
    keys
        Who may ask; None for everybody.
    hosts
        Names by which the server may be asked; None for any. A page of another site can make a browser ask a server
        on loopback, but not by these names.
    most_bytes
        Largest body.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, keys: Keys | None, hosts: Sequence[str] | None, most_bytes: int
    ) -> None:
        self._app, self._metrics, self._keys, self._hosts, self._most = app, metrics, keys, hosts, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), 0

        async def safe_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._refusal(scope) or self._app
        try:
            await app(scope, self._limited(receive), safe_send)
        except ClientDisconnect:
            status = 499  # as nginx counts those who went away
        except Exception:
            cli.warn(f"a request failed, a fault of ours:\n{traceback.format_exc()}")
            if status:
                raise  # half an answer is out; the connection is closed
            await error(500, "internal error")(scope, receive, safe_send)
        finally:
            # The route as it is written in the code: a label must not grow with what is asked.
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.answered(route, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Return the refusal of a request; None for one that may pass."""
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) != 1 and scope["http_version"] == "1.1":
            return error(400, "a request names one Host", CLOSE)
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts:
            return error(400, "this server is not asked by this name; see --names", CLOSE)
        if self._keys is not None and scope["path"] not in OPEN and not self._keys.opened_by(headers):
            return error(401, "a valid API key is needed", {**CLOSE, "WWW-Authenticate": 'Basic realm="search"'})
        length = headers.get("content-length", "0")  # digits, says the parser
        if len(length) > 15 or int(length) > self._most:
            return error(413, f"a body has more than {self._most} bytes", CLOSE)
        return None

    def _limited(self, receive: Receive) -> Receive:
        """Count the bytes of a body, whose length need not be told before."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, f"a body has more than {self._most} bytes", CLOSE)
            return message

        return counted


CLOSE = {"Connection": "close"}
"""Ends a connection whose request was not read to its end."""


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error as JSON, as Pyserini's server does."""
    again = {"Retry-After": "1"} if status in (429, 503) else {}
    return JSONResponse({"error": message}, status, {**again, **(headers or {})})


def _host(header: str) -> str:
    """Return the name in a Host header, without port."""
    name, _, port = header.rpartition(":")
    return (name if name and port.isdigit() else header).lower()


def hosts_for(address: str, names: Sequence[str]) -> list[str] | None:
    """Return the names by which a server on an address may be asked; None for any."""
    local = address in ("localhost", "127.0.0.1", "::1")
    if not local and not names:
        return None
    return [*(name.lower() for name in names), *(["localhost", "127.0.0.1", "[::1]"] if local else [])]

"""Run the server until it is told to stop."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from pyserini_jpq import cli
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.errors import JPQError
from pyserini_jpq.serve.app import create_app
from pyserini_jpq.serve.connections import protocol
from pyserini_jpq.serve.guard import hosts_for
from pyserini_jpq.serve.indexes import Indexes
from pyserini_jpq.serve.keys import read_keys
from pyserini_jpq.serve.metrics import Metrics
from pyserini_jpq.serve.options import IndexOptions, ServerOptions

_IDLE = 5
"""Seconds for which a connection is kept for another request."""
_BACKLOG = 2048
"""Connections that wait to be taken, as uvicorn has it."""


def serve(
    paths: Mapping[str, str | Path],
    lucene: Mapping[str, Path],
    indexing: IndexOptions,
    options: ServerOptions,
    application: Callable[..., ASGIApp] = create_app,
    cluster: Cluster | None = None,
) -> None:
    """Serve indexes; SIGTERM or Ctrl-C ends it, after the requests that run are answered.

    Parameters
    ----------
    paths, lucene, cluster
        As in `Indexes`.
    indexing
        How indexes are opened and searched.
    options
        Where to listen, and whom to answer.
    application
        Makes the application, with the arguments of `create_app`.

    Raises
    ------
    JPQError
        If an index cannot be opened, the keys cannot be read, or the address cannot be listened on.
    """
    keys = None if options.api_keys is None else read_keys(options.api_keys)
    metrics = Metrics()
    with _listening(options) as listener, Indexes(paths, indexing, lucene, metrics.searched, cluster) as indexes:
        hosts = hosts_for(options.host, options.names.split(",") if options.names else [])
        app = application(indexes, metrics=metrics, keys=keys, hosts=hosts, most_bytes=options.max_body)
        listener.listen(_BACKLOG)  # who reads the next line may ask at once
        place, port = listener.getsockname()[:2]
        cli.say(f"serving {', '.join(indexes)} at http://{f'[{place}]' if ':' in place else place}:{port}/")
        if hosts is None and keys is None:
            cli.warn(f"everybody who reaches {options.host} may search; --api-keys FILE lets in who has a key")
        server = uvicorn.Server(configured(app, protocol(indexing.seconds, options.connections), indexing.seconds))
        try:
            server.run([listener])
        except KeyboardInterrupt:  # uvicorn raises the signal again by which it was ended in good order
            cli.say("stopped")


def configured(app: ASGIApp, http: type[asyncio.Protocol], seconds: float) -> uvicorn.Config:
    """Return the settings of uvicorn: no log of its own, no header that names it, `seconds` to end what runs."""
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        log_config=None,
        log_level="error",  # what a client does wrong is no matter for our log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(seconds) + 1,
    )


def _listening(options: ServerOptions) -> socket.socket:
    """Return a socket that is bound, before minutes go into opening indexes."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        *kind, _, address = found
        # With its protocol, by which asyncio knows TCP: else the body of an answer waits for 40 ms behind its head.
        listener = socket.socket(*kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as problem:
        raise JPQError(f"cannot listen on {options.host}, port {options.port}: {problem}; choose another") from None
    return listener

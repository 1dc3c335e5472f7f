"""A server that runs in this process, behind a real socket."""

import contextlib
import socket
import threading

import uvicorn

from pyserini_jpq.serve.app import create_app
from pyserini_jpq.serve.connections import protocol
from pyserini_jpq.serve.server import configured


@contextlib.contextmanager
def running(indexes, seconds=20.0, connections=64, **options):
    """Serve indexes on a free port; yields the port and uvicorn's server."""
    app = create_app(indexes, **options)
    server = uvicorn.Server(configured(app, protocol(seconds, connections), seconds))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()

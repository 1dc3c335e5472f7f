"""Connections that do not wait for ever: uvicorn's own protocol, with limits on slow clients and on their number."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 33\r\n"
    b'Content-Type: application/json\r\n\r\n{"error": "too many connections"}'
)


def protocol(seconds: float, most: int) -> type[asyncio.Protocol]:
    """Return a protocol for uvicorn.

    Parameters
    ----------
    seconds
        How long a client may take to send a whole request, and to take any part of the answer.
    most
        Most connections; more are told to come again.
    """

    class Limited(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._reading, self._writing = (_Timer(self.loop, seconds, transport.abort) for _ in range(2))
            self._reading.start()
            if len(self.connections) > most:
                transport.write(_FULL)
                transport.close()

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if _incomplete(self.conn):
                self._reading.start()
            else:
                self._reading.stop()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._writing.start()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._writing.stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._reading.stop()
            self._writing.stop()
            super().connection_lost(exc)

    return Limited


class _Timer:
    """Calls a function once after some seconds, unless it is stopped before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, act: Callable[[], None]) -> None:
        self._start = partial(loop.call_later, seconds, act)
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start, where it does not run."""
        self._handle = self._handle or self._start()

    def stop(self) -> None:
        """Stop, where it runs."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def _incomplete(connection: h11.Connection) -> bool:
    """Return whether part of a request has come, and part not."""
    state = connection.their_state
    return state is h11.SEND_BODY or (state is h11.IDLE and bool(connection.trailing_data[0]))

"""Connections that do not wait for ever: uvicorn's own protocol, with limits on slow and large requests and on clients.

llhttp parses here: with it the server answered 9 % more requests of 32 clients than with h11. It bounds neither what it
is sent besides a body nor the requests that follow one another unanswered, so both are bounded here.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_HEAD = 1 << 16
"""Most bytes of a request besides its body; a query of 4096 letters may take half of it in an address."""
_UNANSWERED = 16
"""Most requests that a client may have sent before the first of them is answered."""
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

    class Limited(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._reading, self._writing = (_Timer(self.loop, seconds, self._give_up) for _ in range(2))
            self._reading.start()
            self._whole, self._besides = False, 0
            self._cycles: list[RequestResponseCycle] = []
            if len(self.connections) > most:
                transport.write(_FULL)
                transport.close()

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self._besides += len(data)
            super().data_received(data)
            if self._besides > _HEAD and not self.transport.is_closing():
                self.send_400_response("a request is too large besides its body")
            if self._whole and self._unanswered():
                self._reading.stop()
            else:
                self._reading.start()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._whole = False

        def on_headers_complete(self) -> None:
            if len(self.pipeline) >= _UNANSWERED:
                raise ValueError("too many requests are unanswered")  # the parser's error, which ends the connection
            super().on_headers_complete()
            self._cycles = [*self._unanswered(), self.cycle]

        def on_body(self, body: bytes) -> None:
            self._besides -= len(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._whole, self._besides = True, 0

        def send_400_response(self, msg: str) -> None:
            if self._unanswered():
                self._give_up()  # an error would stand in the midst of an answer
            else:
                super().send_400_response(msg)

        def _unanswered(self) -> "list[RequestResponseCycle]":
            return [cycle for cycle in self._cycles if not cycle.response_complete]

        def _give_up(self) -> None:
            for cycle in self._cycles:
                cycle.disconnected = True
            self.transport.abort()

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

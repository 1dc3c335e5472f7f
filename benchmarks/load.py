"""Load of one server by many clients, made light: what the clients take of the processors, the server has not.

One thread asks for all clients over connections that are kept.
"""

import asyncio
import contextlib
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pyserini_jpq.errors import JPQError

_PATIENCE = 120
"""Seconds after which an answer counts as failed."""


@dataclass
class Load:
    """What clients saw: seconds of each answer, how long it all took, how many failed, and the server's memory."""

    seconds: list[float] = field(default_factory=list)
    wall: float = 0.0
    refused: int = 0
    failed: int = 0
    megabytes: list[float] = field(default_factory=list)


class Connection:
    """A connection that is kept, and made again where it was closed."""

    def __init__(self, port: int, index: str) -> None:
        self._port = port
        self._head = f"GET /v1/{index}/search?"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, query: str, hits: int) -> tuple[int, bytes]:
        """Send a query and read its answer: a status and a body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        target = self._head + urllib.parse.urlencode({"query": query, "hits": hits})
        writer.write(f"{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        return int(head.split(None, 2)[1]), await reader.readexactly(int(length))

    def close(self) -> None:
        """Close it; the next question opens another."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def first_answer(port: int, index: str) -> tuple[int, bytes] | None:
    """Return the answer to a first query, None where nobody listens yet."""

    async def ask() -> tuple[int, bytes]:
        with contextlib.closing(Connection(port, index)) as connection:
            return await connection.ask("a first query", 1)

    with contextlib.suppress(OSError):
        return asyncio.run(ask())
    return None


def load(
    port: int, index: str, clients: int, seconds: float, queries: Iterator[str], hits: int, memory: Callable[[], float]
) -> Load:
    """Let clients ask one query after the other for some seconds.

    Raises
    ------
    JPQError
        If an answer is not one to the query, or if there was none.
    """
    found, end = Load(), time.perf_counter() + seconds

    async def client() -> None:
        with contextlib.closing(Connection(port, index)) as connection:
            while time.perf_counter() < end:
                await one(connection, next(queries))

    async def one(connection: Connection, query: str) -> None:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(_PATIENCE):
                status, answer = await connection.ask(query, hits)
        except (OSError, EOFError):  # Pyserini's closes it where it has failed
            status, answer = 500, b""
        if status == 429:
            found.refused += 1
            await asyncio.sleep(0.1)
        elif status >= 500:  # Pyserini's fails now and then, where many threads ask Java for documents
            found.failed += 1
            connection.close()
        elif status != 200 or len(json.loads(answer)["candidates"]) != hits:
            raise JPQError(f"status {status}: {answer[:300]!r}")
        else:
            found.seconds.append(time.perf_counter() - started)

    async def watch() -> None:
        while True:
            found.megabytes.append(memory())
            await asyncio.sleep(max(0.2, seconds / 60))

    async def all_clients() -> None:
        watching: asyncio.Task[Any] = asyncio.create_task(watch())
        await asyncio.gather(*(client() for _ in range(clients)))
        watching.cancel()

    started = time.perf_counter()
    asyncio.run(all_clients())
    found.wall = time.perf_counter() - started
    found.megabytes.append(memory())
    if not found.seconds:
        raise JPQError("no client got an answer")
    return found

"""A server on loopback that stands in for the publisher: it can break off, refuse ranges, and change its files."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Published:
    """A file as the server gives it out.

    `breaks` holds, for the requests to come, after how many bytes each is cut off; `statuses` answers before any file.
    `told` is the Content-Range of an answer 206 where a part was asked for, and with `!` also where none was;
    `redirect` sends elsewhere.
    """

    content: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    kind: str = "application/octet-stream"
    length: bool = True
    told: str | None = None
    redirect: str | None = None


class Publisher:
    """Serves `files` by path; `requests` notes path and Range of every request."""

    def __init__(self) -> None:
        self.files: dict[str, Published] = {}
        self.requests: list[tuple[str, str | None]] = []
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path).lstrip("/")
        asked = handler.headers.get("Range")
        self.requests.append((path, asked))
        file = self.files.get(path)
        if file is None or file.statuses:
            handler.send_error(file.statuses.pop(0) if file else 404)
            return
        if file.redirect:
            handler.send_response(302)
            handler.send_header("Location", file.redirect)
            handler.end_headers()
            return
        start = 0
        if file.told is None and asked and file.ranges and handler.headers.get("If-Range") == file.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(file.content):
                handler.send_error(416)
                return
        body = file.content[start:]
        handler.send_response(206 if start or (file.told and (asked or file.told.endswith("!"))) else 200)
        handler.send_header("Content-Type", file.kind)
        if file.length:
            handler.send_header("Content-Length", str(len(body)))
        if file.told and (asked or file.told.endswith("!")):
            handler.send_header("Content-Range", file.told.removesuffix("!"))
        elif start:
            handler.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        if file.etag:
            handler.send_header("ETag", file.etag)
        handler.end_headers()
        handler.wfile.write(body[: file.breaks.pop(0)] if file.breaks else body)
        handler.close_connection = True

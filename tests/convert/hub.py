"""A server on loopback that speaks the protocol of the Hugging Face hub: repositories, commits, LFS, trees, files."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 4096
"""Files from this size on are sent by LFS."""


@dataclass
class Repository:
    files: dict[str, tuple[bytes, bool]] = field(default_factory=dict)  # content, and whether it is of LFS
    commits: int = 0
    private: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(f"commit {self.commits}".encode()).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """`requests` notes method, path and Range; files that are `refused` are answered by 403, `cut` ones short, once."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.refused: set[str] = set()
        self.cut: set[str] = set()
        self.large: dict[str, bytes] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                hub.answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fetched(self, name: str) -> list[str | None]:
        """Return the ranges in which a file was fetched."""
        return [asked for method, path, asked in self.requests if method == "GET" and path.endswith(f"/{name}")]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path).strip("/")
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append((handler.command, path, handler.headers.get("Range")))
        match path.split("/"):
            case ["api", "repos", "create"]:
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                self.repositories.setdefault(name, Repository(private=asked.get("visibility") == "private"))
                _json(handler, {"url": f"{self.url}/{name}", "id": name})
            case ["api", "validate-yaml"]:
                _json(handler, {"errors": [], "warnings": []})
            case ["lfs", oid]:
                assert hashlib.sha256(body).hexdigest() == oid
                self.large[oid] = body
                _json(handler, {})
            case [owner, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                _json(handler, {"transfer": "basic", "objects": [self._upload(o) for o in json.loads(body)["objects"]]})
            case ["api", "models", owner, name, *rest] if f"{owner}/{name}" in self.repositories:
                self._api(handler, self.repositories[f"{owner}/{name}"], rest, body, f"{owner}/{name}")
            case [owner, name, "resolve", _, *file] if f"{owner}/{name}" in self.repositories:
                self._file(handler, self.repositories[f"{owner}/{name}"], "/".join(file))
            case _:
                _json(handler, {"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def _upload(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["oid"] in self.large:
            return asked
        return {**asked, "actions": {"upload": {"href": f"{self.url}/lfs/{asked['oid']}"}}}

    def _api(self, handler: Any, repository: Repository, rest: list[str], body: bytes, name: str) -> None:
        if rest[:1] == ["tree"]:
            _json(handler, [_listed(path, *file) for path, file in repository.files.items()])
        elif rest[:1] == ["preupload"]:
            asked = json.loads(body)["files"]
            modes = ["lfs" if file["size"] >= LARGE else "regular" for file in asked]
            found = zip(asked, modes, strict=True)
            _json(
                handler,
                {"files": [{"path": f["path"], "uploadMode": mode, "shouldIgnore": False} for f, mode in found]},
            )
        elif rest[:1] == ["commit"]:
            for line in body.splitlines():
                self._operation(repository, json.loads(line))
            repository.commits += 1
            url = f"{self.url}/{name}/commit/{repository.commit}"
            _json(handler, {"success": True, "commitOid": repository.commit, "commitUrl": url})
        else:
            siblings = [{"rfilename": path} for path in repository.files]
            _json(handler, {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings})

    def _operation(self, repository: Repository, line: dict[str, Any]) -> None:
        value = line["value"]
        match line["key"]:
            case "file":
                repository.files[value["path"]] = base64.b64decode(value["content"]), False
            case "lfsFile":
                repository.files[value["path"]] = self.large[value["oid"]], True
            case "deletedFile":
                del repository.files[value["path"]]

    def _file(self, handler: Any, repository: Repository, name: str) -> None:
        if name not in repository.files:
            return _json(handler, {"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        if name in self.refused and handler.command == "GET":
            return _json(handler, {"error": "Forbidden"}, 403)
        content, large = repository.files[name]
        etag = hashlib.sha256(content).hexdigest() if large else git_sha1(content)
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = len(content) // 2 if name in self.cut and handler.command == "GET" else None
        self.cut -= {name} if cut else set()
        _send(handler, 206 if start else 200, content[start:], headers, cut)


def _listed(path: str, content: bytes, large: bool) -> dict[str, Any]:
    listed = {"type": "file", "path": path, "size": len(content), "oid": git_sha1(content)}
    lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return {**listed, "lfs": lfs} if large else listed


def _json(handler: Any, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
    _send(handler, status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def _send(handler: Any, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
    handler.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body[:cut])
    if cut is not None:
        handler.close_connection = True

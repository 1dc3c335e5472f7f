"""Download of one file: resumed where the connection breaks, and put in place whole or not at all."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from filelock import FileLock
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, TooManyRedirects

from pyserini_jpq import cli
from pyserini_jpq.bars import Progress
from pyserini_jpq.download import checksums
from pyserini_jpq.errors import DownloadError, causes
from pyserini_jpq.files import write_json_atomically

ATTEMPTS = 5
"""Attempts in a row without a new byte before a download is given up."""

LOOK_UP_SECONDS = 15

_TIMEOUT = (20, 60)
_BLOCK = 1 << 15  # what a broken connection can lose
_NO_ADDRESS = (InvalidSchema, InvalidURL, MissingSchema, TooManyRedirects)
_RETRY = frozenset({408, 429, 500, 502, 503, 504})


class _Refused(Exception):
    """An address does not serve the file."""


class _Restart(requests.ConnectionError):
    """The partial file is of no use; the download starts again."""


@dataclass(frozen=True)
class _Version:
    """The version of a file that a partial file belongs to: its address, and the host's names for it."""

    url: str
    etag: str | None
    last_modified: str | None

    @property
    def validator(self) -> str | None:
        """The value for `If-Range`; weak tags do not identify single bytes."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else None
        return strong or self.last_modified


def name_of(url: str) -> str:
    """Return the name of the file at an address: `m96.tar.gz` for `https://host/s/abc/m96.tar.gz?dl=1`.

    Raises
    ------
    DownloadError
        If the address names none that can be used.
    """
    _check_scheme(url)
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if name in ("", ".", "..") or "\\" in name or "\0" in name or name.startswith("."):
        raise DownloadError(f"the address {url} names no file; mend the card")
    return name


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"the address {url} is neither http nor https; mend the card")


def fetch(urls: str | Sequence[str], folder: Path, what: str, checksum: str | None = None) -> Path:
    """Return the file of an address, from disk or else from the network.

    Parameters
    ----------
    urls
        Its address, or several of the same file, tried in order.
    folder
        The folder for it, under its own name; a user without a network puts it there by hand.
    what
        Its name in messages: "the index of msmarco-v1-passage.jpq-m96".
    checksum
        `sha256:…` or `md5:…` as published, or None: then the first one is noted and checked from then on.

    Returns
    -------
    pathlib.Path
        The file, checked.

    Raises
    ------
    DownloadError
        If it cannot be fetched, with address and place in one line, or is not the published file.
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    path = folder / name_of(urls[0])
    folder.mkdir(parents=True, exist_ok=True)
    # Two commands that write the same part would mix their bytes.
    with FileLock(folder / f".{path.name}.lock"):
        if path.is_file():
            checksums.check(path, path.name, checksum, urls[0])
            return path
        partial = folder / f".{path.name}.partial"
        url = _complete(urls, partial, path, what)
        try:
            checksums.check(partial, path.name, checksum, url)
        except DownloadError:
            _discard(partial)
            raise
        _version_file(partial).unlink(missing_ok=True)
        partial.replace(path)
    return path


def _complete(urls: Sequence[str], partial: Path, path: Path, what: str) -> str:
    """Fetch the missing part of a file from the first address that serves it, and return that address."""
    refusals = []
    for url in urls:
        cli.say(f"fetching {what} from {url}")
        try:
            _persist(url, partial, path.name)
            return url
        except _Refused as refused:
            refusals.append(f"{url} ({refused})")
    raise DownloadError(
        f"cannot fetch {what} from {' nor from '.join(refusals)}; run the same command again, it goes on with what has "
        f"arrived, or fetch the file elsewhere and put it at {path}"
    )


def _persist(url: str, partial: Path, name: str) -> None:
    """Fetch the missing part of a file, and try again as long as more of it arrives."""
    _look_up(url)
    failures = restarts = 0
    most = _size(partial)
    while True:
        try:
            _transfer(url, partial, name)
            return
        except requests.RequestException as error:
            response = getattr(error, "response", None)
            if response is not None and response.status_code not in _RETRY:
                raise _Refused(f"the host says {response.status_code} {response.reason}") from None
            if isinstance(error, _NO_ADDRESS):
                raise _Refused(_reason(error)) from None
            # More than ever before, since a host could send the same beginning for ever.
            failures = 0 if _size(partial) > most else failures + 1
            most = max(most, _size(partial))
            restarts += isinstance(error, _Restart)
            if restarts > ATTEMPTS or failures >= ATTEMPTS or (failures and _is_offline(error)):
                raise _Refused(_reason(error)) from None
        time.sleep(min(2**failures, 30) * 0.5)


def _look_up(url: str) -> None:
    """Look the host's name up once and briefly: without a network a resolver may take minutes to say that it cannot."""
    host, answered = urlsplit(url).hostname, threading.Event()
    if host is None or requests.utils.get_environ_proxies(url):
        return

    def ask() -> None:
        with contextlib.suppress(OSError):  # which the real attempt explains
            socket.getaddrinfo(host, None)
        answered.set()

    threading.Thread(target=ask, daemon=True).start()
    if not answered.wait(LOOK_UP_SECONDS):
        raise _Refused(f"the name {host} was not found within {LOOK_UP_SECONDS} seconds; is there a network?")


def _transfer(url: str, partial: Path, name: str) -> None:
    """Fetch from where the partial file ends; from the start if it is of another version, or the host cannot resume."""
    have = _size(partial)
    begun = _read_version(partial)
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges are those of the file, not of a compressed body
    if have and begun and begun.url == url and begun.validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": begun.validator}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == 416:
            # The file became shorter, or was complete without our knowing: only a new start can tell.
            _discard(partial)
            raise _Restart("the host has no such part of the file")
        response.raise_for_status()
        _refuse_page(response, url, name)
        if response.status_code == 206:
            _check_part(response, have if "Range" in headers else None, partial)
        else:
            have = 0
        version = _Version(url, response.headers.get("ETag"), response.headers.get("Last-Modified"))
        write_json_atomically(_version_file(partial), asdict(version))
        total = _total(response, have)
        _append(response, partial, have, total, name)
    if total is not None and _size(partial) != total:
        raise requests.ConnectionError(f"the connection closed after {_size(partial)} of {total} bytes")


def _check_part(response: requests.Response, start: int | None, partial: Path) -> None:
    """Refuse a part of the file that was not requested, or that begins elsewhere."""
    told = response.headers.get("Content-Range", "")
    if start is None:
        raise _Refused(f"the host answers with a part of the file ({told or 'not said which'}) that was not asked for")
    if not re.fullmatch(rf"bytes {start}-\d+/(\d+|\*)", told):
        _discard(partial)
        raise _Restart(f"the host was asked for bytes from {start} on, and gives {told or 'others'}")


def _append(response: requests.Response, partial: Path, have: int, total: int | None, name: str) -> None:
    with (
        open(partial, "r+b" if partial.exists() else "wb") as file,
        Progress(total=total, initial=have, desc=name, unit="B", unit_scale=True, unit_divisor=1024) as progress,
    ):
        file.seek(have)
        file.truncate()
        for block in response.iter_content(_BLOCK):
            have += len(block)
            if total is not None and have > total:
                raise _Refused(f"the host gives more than the {total} bytes that it says")
            file.write(block)
            progress.update(len(block))


def _refuse_page(response: requests.Response, url: str, name: str) -> None:
    """Refuse a web page in the place of a file: a login, a warning, "too many downloads"."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and not name.endswith((".html", ".htm")):
        raise _Refused("the host answers with a web page; a browser shows what it wants")


def _total(response: requests.Response, have: int) -> int | None:
    """Return the length of the whole file, if the host says it."""
    _, _, total = response.headers.get("Content-Range", "").rpartition("/")
    if response.status_code == 206 and total.isdigit():
        return int(total)
    length = response.headers.get("Content-Length", "")
    return have + int(length) if length.isdigit() else None


def _is_offline(error: BaseException) -> bool:
    """Tell whether the host cannot be reached at all, so that trying again at once is of no use."""
    return any(isinstance(cause, socket.gaierror | ConnectionRefusedError) for cause in causes(error))


def _reason(error: BaseException) -> str:
    """Return the message of the first exception, which libraries wrap in others."""
    *_, first = causes(error)
    return getattr(first, "strerror", None) or str(first) or type(first).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _version_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _read_version(partial: Path) -> _Version | None:
    try:
        return _Version(**json.loads(_version_file(partial).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _version_file(partial).unlink(missing_ok=True)

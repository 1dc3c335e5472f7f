"""API keys: read from a file, compared in constant time."""

import base64
import binascii
import hashlib
import hmac
import string
from collections.abc import Iterable, Mapping
from pathlib import Path

from pyserini_jpq.data.lines import lines_of
from pyserini_jpq.errors import JPQError

_SHORTEST = 16
_LETTERS = frozenset((string.ascii_letters + string.digits + string.punctuation).encode())


class Keys:
    """The keys of a server; hashes are kept, not the keys.

    Parameters
    ----------
    keys
        The keys.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._hashes = [_hash(key) for key in keys]

    def opened_by(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request shows a key: as `X-API-Key`, as bearer, or as the password of a browser's prompt."""
        return any(self._is_key(given) for given in _given(headers))

    def _is_key(self, given: bytes) -> bool:
        # All are compared, so that the time tells nothing.
        found = _hash(given)
        return sum(hmac.compare_digest(found, known) for known in self._hashes) > 0


def read_keys(path: Path) -> Keys:
    """Read keys, one a line; lines that begin with # are comments.

    Raises
    ------
    JPQError
        If there is none, or one is short or holds other characters than letters, digits and punctuation.
    """
    keys = []
    for number, line in lines_of(str(path), JPQError):
        key = line.strip()
        if not key or key.startswith(b"#"):
            continue
        if len(key) < _SHORTEST or not _LETTERS.issuperset(key):
            raise JPQError(
                f"{path} line {number} is no key; take {_SHORTEST} or more letters and digits, "
                "such as `openssl rand -hex 16` prints"
            )
        keys.append(key)
    if not keys:
        raise JPQError(f"{path} holds no key; put one in a line")
    return Keys(keys)


def _given(headers: Mapping[str, str]) -> list[bytes]:
    given = [headers.get("x-api-key", "")]
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        given.append(value.strip())
    found = [one.encode() for one in given if one]
    if kind.lower() == "basic":
        try:
            found.append(base64.b64decode(value.strip(), validate=True).partition(b":")[2])
        except (binascii.Error, ValueError):
            return found
    return found


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()

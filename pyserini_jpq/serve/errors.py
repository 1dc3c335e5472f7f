"""What a request can get wrong; each message may be shown to a stranger: it names no path."""

from pyserini_jpq.errors import JPQError


class RequestError(JPQError):
    """The request is wrong (HTTP 400)."""

    status = 400


class MissingError(RequestError):
    """There is no such document (HTTP 404)."""

    status = 404


class OverloadError(RequestError):
    """Too many requests wait already (HTTP 429); the same request can be sent again soon."""

    status = 429


class LateError(RequestError):
    """The answer took longer than the limit (HTTP 503)."""

    status = 503

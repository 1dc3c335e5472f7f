"""What a search request asks for, from an address or from a body; all that is wrong raises RequestError."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyserini_jpq.serve.batches import Queries
from pyserini_jpq.serve.errors import RequestError
from pyserini_jpq.trust.plain import NotPlain, parse_json

HITS = 10


@dataclass(frozen=True)
class Wanted:
    """How hits are to be found and shown."""

    hits: int = HITS
    method: str = "jpq"
    parse: bool = True
    longest: int | None = None


def wanted_by(parameters: Mapping[str, str]) -> Wanted:
    """Return what the parameters of an address ask for, as Pyserini's server reads them."""
    if any(parameters.get(name, "").strip() for name in ("k1", "b")):
        raise RequestError("BM25 parameters k1 and b cannot be set here")
    parse = parameters.get("parse", "true").strip().lower()
    if parse not in ("true", "false"):
        raise RequestError("Parameter 'parse' must be 'true' or 'false'")
    longest = _whole(parameters, "max_doc_length")
    if longest is not None and parse == "false":
        raise RequestError("Parameter 'max_doc_length' requires parse=true")
    hits = _whole(parameters, "hits")
    return Wanted(HITS if hits is None else hits, parameters.get("method") or "jpq", parse == "true", longest)


def query_of(parameters: Mapping[str, str]) -> str:
    """Return the query of an address."""
    query = parameters.get("query", "")
    if not query.strip():
        raise RequestError("Parameter 'query' is required")
    return query


def batch_of(body: bytes) -> tuple[Queries, list[str | None], Wanted]:
    """Return the queries of a body, their ids if given, and what is asked for.

    The body is a JSON object with either `queries`, a list of texts or an object of texts by id, or `vectors`, a list
    of lists of numbers; and perhaps `hits`, `method`, `parse` and `max_doc_length`.
    """
    try:
        fields = parse_json(body.decode())
    except (NotPlain, UnicodeDecodeError) as problem:
        raise RequestError(f"the body is no JSON: {problem}") from None
    if not isinstance(fields, dict) or ("queries" in fields) == ("vectors" in fields):
        raise RequestError("the body is no object with either 'queries' or 'vectors'")
    if unknown := fields.keys() - _KINDS.keys() - {"queries", "vectors"}:
        raise RequestError(f"the body has an unknown field {min(unknown)!r}")
    for name, kind in _KINDS.items():
        if name in fields and type(fields[name]) is not kind:
            raise RequestError(f"{name!r} is no {kind.__name__}")
    longest = fields.get("max_doc_length")
    if longest is not None and longest < 1:
        raise RequestError("'max_doc_length' must be positive")
    wanted = Wanted(fields.get("hits", HITS), fields.get("method", "jpq"), fields.get("parse", True), longest)
    queries, ids = _vectors(fields["vectors"]) if "vectors" in fields else _texts(fields["queries"])
    return queries, ids, wanted


_KINDS = {"hits": int, "method": str, "parse": bool, "max_doc_length": int}


def _texts(queries: Any) -> tuple[list[str], list[str | None]]:
    if isinstance(queries, dict):
        return list(queries.values()), list(queries)
    if not isinstance(queries, list):
        raise RequestError("'queries' is no list of texts, nor an object of texts by id")
    return queries, [None] * len(queries)


def _vectors(vectors: Any) -> tuple[Any, list[str | None]]:
    try:
        found = np.array(vectors, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise RequestError("'vectors' is no list of lists of numbers, all of one length") from None
    if not isinstance(vectors, list) or found.ndim != 2:
        raise RequestError("'vectors' is no list of lists of numbers, all of one length")
    return found, [None] * len(found)


def _whole(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 10):
        raise RequestError(f"Parameter '{name}' must be an integer")
    if int(text) < 1:
        raise RequestError(f"Parameter '{name}' must be positive")
    return int(text)

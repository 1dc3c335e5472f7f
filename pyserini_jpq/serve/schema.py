"""What `/openapi.json` says of the routes whose requests are read by hand."""

from typing import Any

from pyserini_jpq.serve.served import METHODS


def _parameter(name: str, kind: str, what: str, required: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": {"type": kind, **more},
        "description": what,
    }


_METHODS = {"type": "string", "enum": METHODS, "default": METHODS[0]}
_ERROR = {
    "content": {
        "application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}},
    }
}
_ERRORS = {
    "400": {"description": "The request is wrong.", **_ERROR},
    "401": {"description": "A valid API key is needed.", **_ERROR},
    "429": {"description": "Too many requests wait; see Retry-After.", **_ERROR},
    "503": {"description": "It took too long; see Retry-After.", **_ERROR},
}
_SHOWN = [
    _parameter("parse", "boolean", "false for documents as they were stored", default=True),
    _parameter("max_doc_length", "integer", "most characters of a text", minimum=1),
]

SEARCH: dict[str, Any] = {
    "parameters": [
        _parameter("query", "string", "the text", required=True),
        _parameter("hits", "integer", "number of hits", minimum=1, default=10),
        _parameter("method", "string", "bm25 and rrf need a Lucene index", enum=METHODS, default=METHODS[0]),
        *_SHOWN,
    ],
    "responses": _ERRORS,
}
DOCUMENT: dict[str, Any] = {
    "parameters": _SHOWN,
    "responses": {"404": {"description": "There is no such document.", **_ERROR}, **_ERRORS},
}
BATCH: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "queries": {
                            "description": "texts, or texts by id",
                            "oneOf": [
                                {"type": "array", "items": {"type": "string"}},
                                {"type": "object", "additionalProperties": {"type": "string"}},
                            ],
                        },
                        "vectors": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                        "hits": {"type": "integer", "minimum": 1, "default": 10},
                        "method": _METHODS,
                        "parse": {"type": "boolean", "default": True},
                        "max_doc_length": {"type": "integer", "minimum": 1},
                    },
                }
            }
        },
    },
    "responses": {"413": {"description": "The body is too large.", **_ERROR}, **_ERRORS},
}

"""JSON and YAML from elsewhere: plain values only, of bounded size and depth."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyserini_jpq.errors import JPQError, message_of
from pyserini_jpq.files import regular

MOST_BYTES = 16 << 20
"""Largest file of settings; our manifests have a few thousand bytes."""

_MOST_YAML = 1 << 18
_MOST_DEPTH = 32
_MOST_JSON_DEPTH = 500
_JSON_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_MOST_VALUES = 200_000


class NotPlain(ValueError):
    """A text is no JSON or YAML, or is larger than a file of settings needs to be."""


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    NotPlain
        If it is none, is nested deeply, or holds a text that is no Unicode.
    """
    return _parsed(_load_json, text, "JSON")


def read_json(path: Path) -> Any:
    """Return the value of a JSON file; raises NotPlain as `parse_json` does, or where the file is too large."""
    return parse_json(_text(path, MOST_BYTES, "JSON"))


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file; raises NotPlain also where it holds another value."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise NotPlain("no JSON object")
    return value


def read_yaml(path: Path, error: type[JPQError]) -> Mapping[str, Any]:
    """Return the fields of a YAML file.

    Parameters
    ----------
    path
        The file.
    error
        Raised if the file is no YAML, holds no fields, is too large, or refers to its own parts: a few lines of
        references can expand to more values than memory holds.
    """
    try:
        values = _parsed(_load_yaml, _text(path, _MOST_YAML, "YAML"), "YAML")
    except NotPlain as problem:
        raise error(f"{path} is {problem}") from None
    if not isinstance(values, dict):
        raise error(f"{path} is no mapping of fields to values")
    return values


def check_depth(text: str) -> None:
    """Raise ValueError for JSON nested so deeply that its parser might exhaust the stack, which ends Python 3.13."""
    if text.count("[") + text.count("{") <= _MOST_JSON_DEPTH:
        return
    depth = 0
    for mark in _JSON_MARKS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark.group(), 0)
        if depth > _MOST_JSON_DEPTH:
            raise ValueError(f"it is nested more than {_MOST_JSON_DEPTH} deep")


def _load_json(text: str) -> Any:
    check_depth(text)
    return json.loads(text)


def _load_yaml(text: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    # Before it is parsed, for PyYAML takes a time that grows with the square of the depth.
    for token in yaml.scan(text, Loader=loader):
        if isinstance(token, yaml.AliasToken):
            raise ValueError(f"line {token.start_mark.line + 1} refers to another part of the file")
        name = type(token).__name__
        depth += name.endswith(("SequenceStartToken", "MappingStartToken")) - name.endswith("EndToken")
        if depth > _MOST_DEPTH:
            raise ValueError("it is nested too deeply")
    return yaml.load(text, Loader=loader)


def _text(path: Path, most: int, kind: str) -> str:
    try:
        with open(path, "rb", opener=regular()) as file:
            raw = file.read(most + 1)
        if len(raw) > most:
            raise NotPlain(f"no {kind} of settings, with {path.stat().st_size} bytes")
        return raw.decode()
    except JPQError:
        raise NotPlain(f"no {kind}, as it is no regular file") from None
    except UnicodeDecodeError as problem:
        raise NotPlain(f"no {kind}: {problem}") from None


def _parsed(parse: Callable[[str], Any], text: str, kind: str) -> Any:
    try:
        value = parse(text)
        _check(value)
    except RecursionError:
        raise NotPlain(f"no {kind} of settings: it is nested too deeply") from None
    except Exception as problem:  # PyYAML raises anything, such as IndexError for `!!int ''`
        reason = message_of(problem)
        raise NotPlain(f"no {kind}: {reason[:300]}") from None
    return value


def _check(value: Any) -> None:
    """Raise ValueError for too many values, too deep nesting, and half a surrogate pair."""
    level, count = [value], 0
    for _ in range(_MOST_DEPTH):
        for text in level:
            if isinstance(text, str):
                text.encode()
        level = [inner for outer in level for inner in _inner(outer)]
        count += len(level)
        if count > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []

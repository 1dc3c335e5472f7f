"""The fields that a JSON file from elsewhere may have, and their values."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pyserini_jpq.trust.places import is_plain_name

Fits = Callable[[Any], bool]

_MOST = 1 << 48


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 0 to a bound that no collection reaches."""
    return type(value) is int and 0 <= value < _MOST


def is_text(value: Any) -> bool:
    """Tell whether a value is a text of one line."""
    return type(value) is str and value.isprintable()


def is_sha256(value: Any) -> bool:
    """Tell whether a value is a SHA-256."""
    return type(value) is str and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def is_object(value: Any) -> bool:
    """Tell whether a value is a JSON object."""
    return type(value) is dict


def or_none(fits: Fits) -> Fits:
    """Return a check that also accepts null."""
    return lambda value: value is None or fits(value)


def object_of(required: Mapping[str, Fits], optional: Mapping[str, Fits] | None = None) -> Fits:
    """Return a check that accepts an object with these fields and no others."""
    known = {**required, **(optional or {})}

    def fits(value: Any) -> bool:
        if type(value) is not dict or not required.keys() <= value.keys() <= known.keys():
            return False
        return all(known[name](inner) for name, inner in value.items())

    return fits


ENCODER = object_of(
    {"name": or_none(is_text), "card": or_none(is_object), "sha256": or_none(is_text)},
    {"folder": or_none(is_text), "computed": is_text},
)
"""The entry for an encoder in an index or embeddings; the card itself is checked where it is read."""

_FILE = object_of({"bytes": is_count, "sha256": is_sha256})


def is_file_list(value: Any) -> bool:
    """Tell whether a value is a list of files by name, with size and SHA-256."""
    return type(value) is dict and all(is_plain_name(name) and _FILE(file) for name, file in value.items())


def wrong_fields(values: Mapping[str, Any], known: Mapping[str, Fits]) -> list[str]:
    """Return the names of the fields whose values are not allowed."""
    return [name for name, fits in known.items() if name in values and not fits(values[name])]

"""Documents as JSON, in the form in which Pyserini's and Anserini's servers show them."""

import json
from dataclasses import dataclass
from typing import Any

from pyserini_jpq.data.collection import Document
from pyserini_jpq.trust.plain import check_depth

_IDS = ("id", "_id", "docid")
_LONG = ("body", "content", "contents", "text")


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored document.

    Attributes
    ----------
    source : Document, str or None
        One of the index's own texts, or a document as Lucene stored it: JSON, or plain text. None if only its words
        were indexed.
    """

    source: Document | str | None

    @property
    def raw(self) -> str | None:
        """The document as a string, an own text as JSON."""
        return self.source.as_json() if isinstance(self.source, Document) else self.source

    def shown(self, parse: bool = True, longest: int | None = None) -> Any:
        """Return what a client gets.

        Parameters
        ----------
        parse
            False for the string as it was stored. Else JSON is parsed: ids are left out, and a lone field stands for
            the object.
        longest
            Most characters of a text.
        """
        if not parse or self.source is None:
            return self.raw
        fields = self._fields()
        if isinstance(fields, str):
            return fields[:longest]
        if isinstance(fields, dict):
            return {k: v[:longest] if k.lower() in _LONG and isinstance(v, str) else v for k, v in fields.items()}
        return fields

    @property
    def title(self) -> str:
        """The title, which may be empty."""
        fields = self._fields()
        return str(fields.get("title", "")) if isinstance(fields, dict) else ""

    @property
    def text(self) -> str:
        """The text without the title."""
        fields = self._fields()
        if not isinstance(fields, dict):
            return str(fields)
        found = next((fields[name] for name in reversed(_LONG) if name in fields), None)
        return self.raw or "" if found is None else str(found)

    def _fields(self) -> Any:
        fields = self.source.fields() if isinstance(self.source, Document) else _parsed(self.source or "")
        return next(iter(fields.values())) if isinstance(fields, dict) and len(fields) == 1 else fields


def _parsed(text: str) -> Any:
    """Return what a document of Lucene holds: the fields of an object without its ids, other JSON, or the text."""
    try:
        check_depth(text)
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(data, dict):
        return data
    return {k: v if isinstance(v, dict | list) else str(v) for k, v in data.items() if k not in _IDS}

"""Documents as Python objects (a mapping, pairs, or mappings with fields), written as a collection on disk."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyserini_jpq.data.collection import ID_FIELDS, Document
from pyserini_jpq.errors import CollectionError
from pyserini_jpq.files import writing

Text = str | Mapping[str, Any]
Documents = Mapping[str, Text] | Iterable[Any]


def documents_of(ids: Iterable[Any], texts: Iterable[Text]) -> Iterator[tuple[Any, Text]]:
    """Yield pairs of docid and text from two iterables of one length.

    Raises
    ------
    CollectionError
        If one is longer than the other.
    """
    ids, count = iter(ids), 0
    for text in texts:
        docid = next(ids, _END)
        if docid is _END:
            raise CollectionError(f"{count} ids for more texts; give one for each")
        count += 1
        yield docid, text
    if next(ids, _END) is not _END:
        raise CollectionError(f"{count} texts for more ids; give one for each")


@contextlib.contextmanager
def spooled(documents: Documents, path: Path) -> Iterator[Path]:
    """Write documents to a JSONL file, one at a time, and remove it in the end.

    Parameters
    ----------
    documents
        A mapping of docids to texts, or an iterable of `Document`, of `(docid, text)` pairs, or of mappings with `id`
        (or `_id`, `docid`), `title` and `text` (or `contents`). A text is a string, or a mapping of the last two.
    path
        The file, without its ending `.jsonl`.

    Raises
    ------
    CollectionError
        If a document is none of these.
    """
    path = path.with_name(f"{path.name}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(path), open(path, "w", encoding="utf-8") as file:
            pairs = documents.items() if isinstance(documents, Mapping) else documents
            for number, document in enumerate(pairs, start=1):
                file.write(json.dumps(_fields(document, number), ensure_ascii=True) + "\n")
        yield path
    finally:
        path.unlink(missing_ok=True)


def _fields(document: Any, number: int) -> dict[str, Any]:
    if isinstance(document, Document):
        return {"id": document.docid, "title": document.title, "text": document.text}
    docid: Any
    text: Any
    if isinstance(document, Mapping):
        docid = next((document[name] for name in ID_FIELDS if document.get(name) is not None), None)
        text = document
    elif isinstance(document, tuple | list) and len(document) == 2:
        docid, text = document
    else:
        raise CollectionError(
            f"document {number} is {type(document).__name__}; expected a pair of docid and text, or a mapping with "
            "`id` and `text`"
        )
    if isinstance(text, Mapping):
        title, text = text.get("title") or "", text.get("text", text.get("contents"))
    else:
        title = ""
    docid = docid.item() if hasattr(docid, "item") else docid  # of NumPy
    if isinstance(docid, bool) or not isinstance(docid, str | int):
        raise CollectionError(f"document {number} has the docid {docid!r}; expected a text or a whole number")
    if not isinstance(text, str | None) or not isinstance(title, str):
        raise CollectionError(f"document {number} (docid {docid}): text and title must be text, not {text!r:.40}")
    return {"id": str(docid), "title": title, "text": text or ""}


_END = object()

"""Documents as Python objects (a mapping, pairs, or mappings with fields), written as a collection on disk."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyserini_jpq.data.collection import ID_FIELDS, Document
from pyserini_jpq.errors import CollectionError, JPQError
from pyserini_jpq.files import beside

Text = str | Mapping[str, Any]
Documents = Mapping[str, Text] | Iterable[Any]


def documents_of(ids: Iterable[Any], texts: Iterable[Text]) -> Iterator[tuple[Any, Text]]:
    """Yield pairs of docid and text from two iterables of one length.

    Raises
    ------
    CollectionError
        If one is longer than the other.
    """
    docids, count = iter(several(ids, "ids")), 0
    for text in several(texts, "texts"):
        docid = next(docids, _END)
        if docid is _END:
            raise CollectionError(f"{count} ids for more texts; give one for each")
        count += 1
        yield docid, text
    if next(docids, _END) is not _END:
        raise CollectionError(f"{count} texts for more ids; give one for each")


def several(values: Any, what: str) -> Any:
    """Return an iterable; raise JPQError for a single text, whose characters nobody means, or anything else."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise JPQError(f"{what}: expected a list or another iterable, not {type(values).__name__}")
    return values


@contextlib.contextmanager
def spooled(documents: Documents, path: Path) -> Iterator[Path]:
    """Write documents to a JSONL file, one at a time, and remove it in the end.

    Parameters
    ----------
    documents
        A mapping of docids to texts, or an iterable of `Document`, of `(docid, text)` pairs, or of mappings with `id`
        (or `_id`, `docid`), `title` and `text` (or `contents`). A text is a string, or a mapping of the last two.
    path
        The output that they are for: the file lies beside it, in a folder of this process alone.

    Raises
    ------
    CollectionError
        If a document is none of these.
    """
    with beside(path.with_name(f"{path.name}.documents")) as folder:
        folder.mkdir(parents=True)
        corpus = folder / "documents.jsonl"
        with open(corpus, "w", encoding="utf-8") as file:
            pairs = documents.items() if isinstance(documents, Mapping) else documents
            for number, document in enumerate(pairs, start=1):
                file.write(json.dumps(_fields(document, number), ensure_ascii=True) + "\n")
        yield corpus


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

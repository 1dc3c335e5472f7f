"""Ids of documents and queries: one word each, as run files, qrels and docid files need them."""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pyserini_jpq.data.lines import lines_of
from pyserini_jpq.errors import JPQError

_WHITESPACE = re.compile(r"\s")
# trec_eval's strings end at a NUL; the other characters are invisible in a file.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff]")


def check_id(text: str, where: str, error: type[JPQError], kind: str = "docid") -> None:
    """Raise `error` if an id is empty, or holds whitespace or a control character.

    Parameters
    ----------
    text
        The id.
    where
        Where it was read; begins the message.
    error
        What is raised.
    kind
        `docid` or `qid`.
    """
    if problem := _problem(text):
        shown = f"{problem} in its {kind} {text!r}" if text else f"an empty {kind}"
        raise error(f"{where} has {shown}; run files and qrels need {kind}s without spaces or control characters")


def check_ids(ids: Sequence[str], where: str, error: type[JPQError]) -> None:
    """Raise `error` as `check_id` for each of some docids; at once for nearly all, which are printable words."""
    joined = "".join(ids)
    if joined.isprintable() and " " not in joined and all(ids):
        return
    for text in ids:
        check_id(text, where, error)


def check_docids(docids: Callable[[], Iterable[str]], where: str, error: type[JPQError]) -> None:
    """Raise `error` if a docid cannot be used, or comes twice.

    Parameters
    ----------
    docids
        Returns them; called a second time if two hashes are equal, so that only 8 bytes a docid are in memory.
    where
        The file or folder; begins the message.
    error
        What is raised.
    """
    hashes = array("q")
    for docid in docids():
        if _problem(docid):
            raise error(
                f"{where} has the docid {docid!r}; a docid is not empty and holds no white space or control character"
            )
        hashes.append(hash(docid))
    seen: set[str] = set()
    suspects = repeated(hashes)
    for docid in docids() if suspects else ():
        if docid in seen:
            raise error(f"{where} has the docid {docid!r} twice; every document needs its own")
        if hash(docid) in suspects:
            seen.add(docid)


def repeated(hashes: "array[int]") -> set[int]:
    """Return the values that come more than once."""
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.int64), return_counts=True)
    return set(values[counts > 1].tolist())


def words_of(path: Path, error: type[JPQError]) -> Iterator[str]:
    """Yield the lines of a file of docids or the like, without their ends, blank ones too.

    Raises
    ------
    JPQError
        `error`, if it is not there, or is no text in UTF-8.
    """
    try:
        for _, line in lines_of(str(path), error):
            yield line.decode().rstrip("\r\n")
    except OSError as problem:
        raise error(f"{path} cannot be read as lines of text: {problem}") from None


def _problem(text: str) -> str | None:
    if text and text.isprintable() and " " not in text:  # nearly all, and faster than the two below
        return None
    if not text or _WHITESPACE.search(text):
        return "whitespace"
    return "a control character" if _CONTROL.search(text) else None

"""The one reader of lines: UTF-8, gzipped or not, and columns between white space.

Lines are split at newlines alone and columns at ASCII whitespace alone, as trec_eval does: other Unicode separators
belong to the text of a query or to a docid.
"""

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TypeVar

from pyserini_jpq.errors import JPQError
from pyserini_jpq.trust.plain import check_depth

V = TypeVar("V")

WHOLE_NUMBER = re.compile(rb"[+-]?[0-9]{1,18}")
# Not allowed in any column; trec_eval would end a docid at a NUL. Other Unicode whitespace stays part of an id.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1b\x7f]")
_ID_NAMES = {
    *("id", "_id", "qid", "query_id", "query-id", "queryid", "topic", "topic_id"),
    *("docid", "doc_id", "docno", "pid", "passage_id", "document_id"),
}
_TEXT_NAMES = {"text", "query", "query_text", "title", "question", "topic", "contents", "passage", "document", "url"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_GZIP_MAGIC = b"\x1f\x8b"


def lines_of(path: str, error: type[JPQError]) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and bytes of each line of a UTF-8 file, gzipped or not, without a byte-order mark."""
    number = 0
    with open(path, "rb") as raw:
        is_gzip = raw.peek(2)[:2] == _GZIP_MAGIC
        file: BinaryIO = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if is_gzip else raw
        try:
            for line in file:
                number += 1
                if not line.isascii():
                    line.decode()
                    if number == 1:
                        line = line.removeprefix(codecs.BOM_UTF8)
                yield number, line
        except UnicodeDecodeError as problem:
            raise error(f"{path} line {number} is not UTF-8: {problem.reason}; convert the file to UTF-8") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
            raise error(f"{path} after line {number} is no whole gzip file: {problem}") from None


def rows_of(
    path: str, error: type[JPQError], widths: tuple[int, ...], expected: str
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield number and columns of each line that is not blank; all must have as many columns as the first."""
    width = 0
    for number, line in lines_of(path, error):
        row = line.split()
        if not row:
            continue
        if len(row) != width:
            if width or len(row) not in widths:
                before = f", the lines before it {width}" if width else ""
                raise error(f"{path} line {number} has {_counted(len(row), 'column')}{before}; {expected}")
            width = len(row)
        if _CONTROL.search(line):
            raise error(f"{path} line {number} holds a control character, as no id does; {expected}")
        yield number, row


def rows_by_query(
    rows: Iterable[tuple[int, list[bytes]]], found: dict[str, dict[str, V]]
) -> Iterator[tuple[int, list[bytes], dict[str, V]]]:
    """Yield number and columns of each row, and the values of its query in `found`, which get their place there."""
    qid, values = b"", dict[str, V]()
    for number, row in rows:
        if row[0] != qid:  # rows of a query mostly follow each other: its id is decoded once
            qid = row[0]
            values = found.setdefault(qid.decode(), {})
        yield number, row, values


def json_object(line: str, where: str, error: type[JPQError], expected: str = "") -> dict[str, Any]:
    """Return the JSON object in a line; raise `error`, which begins with `where`, for anything else."""
    try:
        check_depth(line)
        found = json.loads(line)
    except json.JSONDecodeError as problem:
        raise error(f"{where} is no JSON: {problem.msg} at character {problem.pos + 1}") from None
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is no JSON: {problem}") from None
    if not isinstance(found, dict):
        raise error(f"{where} is no JSON object{expected}")
    return found


def check_text(text: str, where: str, error: type[JPQError]) -> None:
    """Raise `error` for half a surrogate pair, which JSON can escape and UTF-8 cannot hold."""
    if _SURROGATE.search(text):
        raise error(f"{where} holds half a surrogate pair, which is no text; remove the escape `\\ud…`")


def is_header(columns: list[str]) -> bool:
    """Tell whether the first line of a table of ids and texts names its columns."""
    first, second, *_ = (*(column.strip().lower() for column in columns), "", "")
    return first in _ID_NAMES and second in _TEXT_NAMES


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

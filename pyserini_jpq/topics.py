"""The text files of an experiment: topics (queries by id), qrels (relevance judgements) and runs (ranked documents).

Lines are split at newlines alone and columns at ASCII whitespace alone, as trec_eval does: other Unicode separators
belong to the text of a query or to a docid.
"""

import codecs
import gzip
import io
import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from pyserini_jpq.errors import JPQError, RunError, TopicsError

QID_FIELDS = ("_id", "id", "qid", "query_id")
QUERY_FIELDS = ("text", "query", "title", "contents")
# A higher grade is a docid or a score in the wrong column; pytrec_eval counts those beyond a C int as 0 without a word.
MAX_GRADE = 1_000_000

_TSV = (".tsv", ".txt", ".tsv.gz", ".txt.gz")
_JSONL = (".jsonl", ".jsonl.gz")
_FILE_ENDINGS = (*_TSV, *_JSONL, ".json", ".trec", ".xml", ".qrels", ".csv", ".gz")
_GZIP_MAGIC = b"\x1f\x8b"
_WHITESPACE = re.compile(r"\s")
_WHOLE_NUMBER = re.compile(rb"[+-]?[0-9]{1,18}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_QRELS_COLUMNS = "qrels are `qid 0 docid grade`, or BEIR's `query-id corpus-id score`"
_SCORE_COLUMNS = "a line is `qid docid score`"
_RUN_COLUMNS = "a run is `qid Q0 docid rank score tag`, or `qid docid rank`"
_HEADER_NAMES = (b"query-id", b"query_id", b"queryid", b"qid", b"query", b"topic")


def read_topics(source: str, topics_format: str = "default") -> dict[str, str]:
    """Read topics from a file, or by a name that a collection's card or Pyserini knows.

    Parameters
    ----------
    source
        A TSV file of `qid<TAB>text` lines (`.tsv`, or `.txt` as in Pyserini), a JSONL file (`.jsonl`) with one of the
        fields in `QID_FIELDS` and one of those in `QUERY_FIELDS`, both gzipped or not; or a name, of a collection's
        card (`msmarco-passage-train`) or of Pyserini's. Other files are read by Pyserini.
    topics_format
        As in Pyserini; with any but `default`, Pyserini reads the file.

    Returns
    -------
    dict of str to str
        Queries by qid, in the order of the file.

    Raises
    ------
    TopicsError
        If the file is missing or holds no query, or for the first line that cannot be used, with its number.
    """
    source = _file_by_card(source, "topics")
    is_file = _check_source(source, "topics")
    if is_file and topics_format == "default":
        if source.lower().endswith(_JSONL):
            return _collect_topics(source, _json_topic)
        if source.lower().endswith(_TSV) and not _is_tagged(source):
            return _collect_topics(source, _tsv_topic)

    from pyserini_jpq import _pyserini

    if is_file or topics_format != "default":
        topics = dict(_pyserini.topics_from_file(source, topics_format))
    else:
        topics = dict(_pyserini.topics_by_name(source))
    if not topics:
        raise TopicsError(f"{source} holds no query")
    return topics


def read_qrels(source: str) -> dict[str, dict[str, int]]:
    """Read relevance judgements from a file, or by a name that Pyserini knows.

    Parameters
    ----------
    source
        A file of TREC's four columns (`qid 0 docid grade`) or of BEIR's three (`query-id corpus-id score`, with or
        without that header line), separated by tabs or spaces, gzipped or not; or a name.

    Returns
    -------
    dict of str to dict of str to int
        Grades by qid and docid, in the order of the file.

    Raises
    ------
    TopicsError
        If the file is missing or empty, or for the first line that cannot be used, with its number.
    """
    source = _file_by_card(source, "qrels")
    if not _check_source(source, "qrels"):
        from pyserini_jpq import _pyserini

        source = _pyserini.qrels_path_by_name(source)
    qrels: dict[str, dict[str, int]] = {}
    grades: dict[bytes, int] = {}
    qid, judged = b"", {}
    for number, row in _rows(source, TopicsError, (3, 4), _QRELS_COLUMNS):
        if not qid and _is_header(row):
            continue
        if row[0] != qid:
            qid = row[0]
            judged = qrels.setdefault(qid.decode(), {})
        # Looking a grade up is faster than parsing it again on every line.
        grade = grades.get(row[-1])
        if grade is None:
            grade = grades[row[-1]] = _grade(row[-1], f"{source} line {number}")
        docid = row[-2].decode()
        if judged.setdefault(docid, grade) != grade:
            raise TopicsError(
                f"{source} line {number} judges {docid!r} for query {qid.decode()!r} as {grade}, "
                f"but a line before it as {judged[docid]}; keep one of the two"
            )
    if not qrels:
        raise TopicsError(f"{source} holds no judgement; {_QRELS_COLUMNS}")
    return qrels


def read_scores(path: str) -> dict[str, dict[str, float]]:
    """Read the scores of a stronger model, such as a cross-encoder, from a file, gzipped or not.

    Parameters
    ----------
    path
        Lines of `qid docid score`, separated by tabs or spaces.

    Returns
    -------
    dict of str to dict of str to float
        Scores by qid and docid, in the order of the file.

    Raises
    ------
    TopicsError
        If the file is missing or empty, or for the first line that cannot be used, with its number.
    """
    if not os.path.isfile(path):
        raise TopicsError(f"{path} does not exist; expected a file of scores: {_SCORE_COLUMNS}")
    scores: dict[str, dict[str, float]] = {}
    for number, row in _rows(path, TopicsError, (3,), _SCORE_COLUMNS):
        scores.setdefault(row[0].decode(), {})[row[1].decode()] = _score(row[2], path, number, TopicsError)
    if not scores:
        raise TopicsError(f"{path} holds no score; {_SCORE_COLUMNS}")
    return scores


def read_run(path: str) -> dict[str, dict[str, float]]:
    """Read a run from a file, gzipped or not.

    Parameters
    ----------
    path
        TREC's six columns (`qid Q0 docid rank score tag`; the score alone counts, as in trec_eval), or the three of
        MS MARCO (`qid docid rank`), where the score is 1 / rank as in Pyserini.

    Returns
    -------
    dict of str to dict of str to float
        Scores by qid and docid, in the order of the file.

    Raises
    ------
    RunError
        If the file is missing or empty, or for the first line that cannot be used, with its number.
    """
    if not os.path.exists(path) or os.path.isdir(path):
        raise RunError(f"{path} {'is a folder' if os.path.isdir(path) else 'does not exist'}; expected a run file")
    run: dict[str, dict[str, float]] = {}
    qid, hits = b"", {}
    for number, row in _rows(path, RunError, (3, 6), _RUN_COLUMNS):
        if row[0] != qid:
            qid = row[0]
            hits = run.setdefault(qid.decode(), {})
        is_trec = len(row) == 6
        docid = row[2 if is_trec else 1].decode()
        if docid in hits:
            raise RunError(f"{path} line {number} repeats {docid!r} for query {qid.decode()!r}; a document ranks once")
        hits[docid] = _score(row[4], path, number) if is_trec else 1 / _rank(row[2], path, number)
    if not run:
        raise RunError(f"{path} holds no hit; {_RUN_COLUMNS}")
    return run


def looks_like_path(source: str) -> bool:
    """Tell whether somebody who wrote this meant a file, not a name that Pyserini knows."""
    return "/" in source or os.sep in source or source.lower().endswith(_FILE_ENDINGS)


def _file_by_card(source: str, what: str) -> str:
    """Return the file that a collection's card gives a name, fetched if need be; else what was given."""
    from pyserini_jpq.fetch.collection import find_topics

    if os.path.exists(source) or looks_like_path(source):
        return source
    return str(find_topics(what, source) or source)


def _check_source(source: str, what: str) -> bool:
    """Tell whether topics or qrels are a file; refuse what is neither a file nor could be a name."""
    if os.path.exists(source) and not os.path.isdir(source):
        return True
    if looks_like_path(source):
        problem = "is a folder" if os.path.isdir(source) else "does not exist"
        raise TopicsError(f"{source} {problem}; expected a file of {what}, or the name of {what} that Pyserini knows")
    return False


def _lines(path: str, error: type[JPQError]) -> Iterator[tuple[int, bytes]]:
    """Give the numbers and bytes of the lines of a UTF-8 file, gzipped or not, without a byte-order mark."""
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


def _rows(
    path: str, error: type[JPQError], widths: tuple[int, ...], expected: str
) -> Iterator[tuple[int, list[bytes]]]:
    """Give the numbers and columns of the lines that are not blank; all must have as many as the first."""
    width = 0
    for number, line in _lines(path, error):
        row = line.split()
        if not row:
            continue
        if len(row) != width:
            if width or len(row) not in widths:
                before = f", the lines before it {width}" if width else ""
                raise error(f"{path} line {number} has {_counted(len(row), 'column')}{before}; {expected}")
            width = len(row)
        yield number, row


def _collect_topics(path: str, parse: Callable[[str, str], tuple[str, str]]) -> dict[str, str]:
    topics: dict[str, str] = {}
    for number, line in _lines(path, TopicsError):
        if line.isspace():
            continue
        where = f"{path} line {number}"
        qid, query = parse(line.decode().rstrip("\r\n"), where)
        if not qid or _WHITESPACE.search(qid):
            problem = f"whitespace in its qid {qid!r}" if qid else "an empty qid"
            raise TopicsError(f"{where} has {problem}; run files and qrels need qids without spaces")
        if qid in topics:
            raise TopicsError(f"{where} repeats the qid {qid!r}; every query needs its own")
        if not query:
            raise TopicsError(f"{where}: query {qid!r} is empty; write its text or remove the line")
        topics[qid] = query
    if not topics:
        raise TopicsError(f"{path} holds no query; expected `qid<TAB>text` lines, or JSON objects in a .jsonl file")
    return topics


def _tsv_topic(line: str, where: str) -> tuple[str, str]:
    fields = line.split("\t")
    if len(fields) == 1:
        raise TopicsError(f"{where} has no tab; expected `qid<TAB>text`")
    if len(fields) > 2:
        raise TopicsError(
            f"{where} has {len(fields)} columns, so its query holds a tab; replace it by a space in `qid<TAB>text`"
        )
    return fields[0], fields[1].strip()


def _json_topic(line: str, where: str) -> tuple[str, str]:
    try:
        topic = json.loads(line)
    except json.JSONDecodeError as problem:
        raise TopicsError(f"{where} is no JSON: {problem.msg} at character {problem.pos + 1}") from None
    except (ValueError, RecursionError) as problem:
        raise TopicsError(f"{where} is no JSON: {problem}") from None
    if not isinstance(topic, dict):
        raise TopicsError(f"{where} is no JSON object; expected fields such as `_id` and `text`")
    qid = next((topic[name] for name in QID_FIELDS if name in topic), None)
    if isinstance(qid, bool) or not isinstance(qid, str | int):
        raise TopicsError(f"{where} has no qid; expected a string or a whole number in {' or '.join(QID_FIELDS)}")
    queries = [topic[name] for name in QUERY_FIELDS if name in topic]
    if not queries or not all(isinstance(query, str | None) for query in queries):
        raise TopicsError(f"{where} has no query; expected a string in {' or '.join(QUERY_FIELDS)}")
    query = next((query.strip() for query in queries if query and query.strip()), "")
    if _SURROGATE.search(f"{qid}{query}"):
        raise TopicsError(f"{where} holds half a surrogate pair, which is no text; remove the escape `\\ud…`")
    return str(qid), query


def _is_tagged(path: str) -> bool:
    """Tell whether a file holds TREC's tags (`<top>`, `<DOC>`), as CACM's topics do, which Pyserini reads."""
    first = next((line for _, line in _lines(path, TopicsError) if not line.isspace()), b"")
    return first.startswith(b"<") and b"\t" not in first


def _is_header(row: list[bytes]) -> bool:
    return row[0].lower() in _HEADER_NAMES and not _WHOLE_NUMBER.fullmatch(row[-1])


def _grade(text: bytes, where: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text) or abs(grade := int(text)) > MAX_GRADE:
        shown = text.decode()
        raise TopicsError(f"{where}: relevance {shown!r} is no whole number up to {MAX_GRADE}; {_QRELS_COLUMNS}")
    return grade


def _score(text: bytes, path: str, number: int, error: type[JPQError] = RunError) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        expected = _RUN_COLUMNS if error is RunError else _SCORE_COLUMNS
        raise error(f"{path} line {number}: score {text.decode()!r} is no finite number; {expected}")
    return score


def _rank(text: bytes, path: str, number: int) -> int:
    if not _WHOLE_NUMBER.fullmatch(text) or (rank := int(text)) < 1:
        raise RunError(f"{path} line {number}: rank {text.decode()!r} is no whole number from 1; {_RUN_COLUMNS}")
    return rank


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

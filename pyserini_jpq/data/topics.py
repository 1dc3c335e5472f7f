"""Topics: queries by qid, from TSV, JSONL, or any other format that Pyserini reads."""

from collections.abc import Callable

from pyserini_jpq.data.ids import check_id
from pyserini_jpq.data.ir_datasets import is_ir_datasets, topics_of_dataset
from pyserini_jpq.data.lines import check_text, is_header, json_object, lines_of
from pyserini_jpq.data.source import JSONL, TSV, file_by_card, is_file
from pyserini_jpq.errors import TopicsError

QID_FIELDS = ("_id", "id", "qid", "query_id")
QUERY_FIELDS = ("text", "query", "title", "contents")


def read_topics(source: str, topics_format: str = "default") -> dict[str, str]:
    """Read topics from a file, or by a name that a collection's card or Pyserini knows.

    Parameters
    ----------
    source
        A TSV file of `qid<TAB>text` lines, with or without a header line (`.tsv`, or `.txt` as in Pyserini); a JSONL
        file (`.jsonl`) with one of the fields in `QID_FIELDS` and one of those in `QUERY_FIELDS`; both gzipped or not;
        or a name, of a collection's card (`msmarco-passage-train`), of Pyserini's or of ir_datasets
        (`ir_datasets:antique/test`). Other files are read by Pyserini.
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
    if is_ir_datasets(source):
        return topics_of_dataset(source)
    source = file_by_card(source, "topics")
    from_file = is_file(source, "topics")
    if from_file and topics_format == "default":
        if source.lower().endswith(JSONL):
            return _collect_topics(source, _json_topic)
        if source.lower().endswith(TSV) and not _is_tagged(source):
            return _collect_topics(source, _tsv_topic)

    from pyserini_jpq.compat import pyserini

    if from_file or topics_format != "default":
        topics = dict(pyserini.topics_from_file(source, topics_format))
    else:
        topics = dict(pyserini.topics_by_name(source))
    if not topics:
        raise TopicsError(f"{source} holds no query")
    for qid in topics:
        check_id(qid, source, TopicsError, "qid")
    return topics


def _collect_topics(path: str, parse: Callable[[str, str], tuple[str, str]]) -> dict[str, str]:
    topics: dict[str, str] = {}
    for number, line in lines_of(path, TopicsError):
        text = line.decode().rstrip("\r\n")
        if line.isspace() or (number == 1 and is_header(text.split("\t"))):
            continue
        where = f"{path} line {number}"
        qid, query = parse(text, where)
        check_id(qid, where, TopicsError, "qid")
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
    topic = json_object(line, where, TopicsError, "; expected fields such as `_id` and `text`")
    qid = next((topic[name] for name in QID_FIELDS if name in topic), None)
    if isinstance(qid, bool) or not isinstance(qid, str | int):
        raise TopicsError(f"{where} has no qid; expected a string or a whole number in {' or '.join(QID_FIELDS)}")
    queries = [topic[name] for name in QUERY_FIELDS if name in topic]
    if not queries or not all(isinstance(query, str | None) for query in queries):
        raise TopicsError(f"{where} has no query; expected a string in {' or '.join(QUERY_FIELDS)}")
    query = next((query.strip() for query in queries if query and query.strip()), "")
    check_text(f"{qid}{query}", where, TopicsError)
    return str(qid), query


def _is_tagged(path: str) -> bool:
    """Tell whether a file holds TREC's tags (`<top>`, `<DOC>`), as CACM's topics do, which Pyserini reads."""
    first = next((line for _, line in lines_of(path, TopicsError) if not line.isspace()), b"")
    return first.startswith(b"<") and b"\t" not in first

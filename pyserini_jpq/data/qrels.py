"""Relevance judgements: TREC's four columns or BEIR's three."""

from itertools import dropwhile

from pyserini_jpq.data.ir_datasets import is_ir_datasets, qrels_of_dataset
from pyserini_jpq.data.lines import WHOLE_NUMBER, rows_by_query, rows_of
from pyserini_jpq.data.source import file_by_card, is_file
from pyserini_jpq.errors import TopicsError

# A higher grade is a docid or a score in the wrong column; pytrec_eval silently counts those beyond a C int as 0.
MAX_GRADE = 1_000_000

_QRELS_COLUMNS = "qrels are `qid 0 docid grade`, or BEIR's `query-id corpus-id score`"
_HEADER_NAMES = (b"query-id", b"query_id", b"queryid", b"qid", b"query", b"topic")


def read_qrels(source: str) -> dict[str, dict[str, int]]:
    """Read relevance judgements from a file, or by a name that Pyserini knows.

    Parameters
    ----------
    source
        A file of TREC's four columns (`qid 0 docid grade`) or of BEIR's three (`query-id corpus-id score`, with or
        without that header line), separated by tabs or spaces, gzipped or not; or a name, such as
        `ir_datasets:antique/test`.

    Returns
    -------
    dict of str to dict of str to int
        Grades by qid and docid, in the order of the file.

    Raises
    ------
    TopicsError
        If the file is missing or empty, or for the first line that cannot be used, with its number.
    """
    if is_ir_datasets(source):
        return qrels_of_dataset(source)
    source = file_by_card(source, "qrels")
    if not is_file(source, "qrels"):
        from pyserini_jpq.compat import pyserini

        source = pyserini.qrels_path_by_name(source)
    qrels: dict[str, dict[str, int]] = {}
    grades: dict[bytes, int] = {}
    rows = rows_of(source, TopicsError, (3, 4), _QRELS_COLUMNS)
    for number, row, judged in rows_by_query(dropwhile(lambda numbered: _is_header(numbered[1]), rows), qrels):
        # Looking a grade up is faster than parsing it again on every line.
        grade = grades.get(row[-1])
        if grade is None:
            grade = grades[row[-1]] = _grade(row[-1], f"{source} line {number}")
        docid = row[-2].decode()
        if judged.setdefault(docid, grade) != grade:
            raise TopicsError(
                f"{source} line {number} judges {docid!r} for query {row[0].decode()!r} as {grade}, "
                f"but a line before it as {judged[docid]}; keep one of the two"
            )
    if not qrels:
        raise TopicsError(f"{source} holds no judgement; {_QRELS_COLUMNS}")
    return qrels


def _is_header(row: list[bytes]) -> bool:
    return row[0].lower() in _HEADER_NAMES and not WHOLE_NUMBER.fullmatch(row[-1])


def _grade(text: bytes, where: str) -> int:
    if not WHOLE_NUMBER.fullmatch(text) or abs(grade := int(text)) > MAX_GRADE:
        shown = text.decode()
        raise TopicsError(f"{where}: relevance {shown!r} is no whole number up to {MAX_GRADE}; {_QRELS_COLUMNS}")
    return grade

"""Ranked documents: run files, and files of a stronger model's scores."""

import math
import os

from pyserini_jpq.data.lines import WHOLE_NUMBER, rows_by_query, rows_of
from pyserini_jpq.errors import JPQError, RunError, TopicsError

_SCORE_COLUMNS = "a line is `qid docid score`"
_RUN_COLUMNS = "a run is `qid Q0 docid rank score tag`, or `qid docid rank`"


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
    for number, row, hits in rows_by_query(rows_of(path, RunError, (3, 6), _RUN_COLUMNS), run):
        is_trec = len(row) == 6
        docid = row[2 if is_trec else 1].decode()
        if docid in hits:
            raise RunError(
                f"{path} line {number} repeats {docid!r} for query {row[0].decode()!r}; a document ranks once"
            )
        hits[docid] = _score(row[4], path, number) if is_trec else 1 / _rank(row[2], path, number)
    if not run:
        raise RunError(f"{path} holds no hit; {_RUN_COLUMNS}")
    return run


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
    for number, row, of_query in rows_by_query(rows_of(path, TopicsError, (3,), _SCORE_COLUMNS), scores):
        of_query[row[1].decode()] = _score(row[2], path, number, TopicsError)
    if not scores:
        raise TopicsError(f"{path} holds no score; {_SCORE_COLUMNS}")
    return scores


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
    if not WHOLE_NUMBER.fullmatch(text) or (rank := int(text)) < 1:
        raise RunError(f"{path} line {number}: rank {text.decode()!r} is no whole number from 1; {_RUN_COLUMNS}")
    return rank

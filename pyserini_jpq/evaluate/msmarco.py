"""The rules of MS MARCO's own evaluation scripts, which read the ranks of a run alone.

`msmarco_passage_eval` and `msmarco_doc_eval`, as Pyserini calls them, want whole numbers as query ids, ranks from 1 to
1000, and no document and no rank twice for a query.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from pyserini_jpq.data.lines import rows_of
from pyserini_jpq.errors import RunError

MOST_RANKS = 1000


def read_ranks(path: Path) -> dict[str, dict[int, str]]:
    """Read docids by qid and rank from a run in the format of MS MARCO (`qid docid rank`) or of TREC.

    Raises
    ------
    RunError
        For the first line that MS MARCO's scripts would not accept, with its number.
    """
    ranks: dict[str, dict[int, str]] = {}
    documents: dict[str, set[str]] = {}
    for number, row in rows_of(str(path), RunError, (3, 6), "a line is `qid docid rank`"):
        qid, docid, rank = (row[i].decode() for i in ((0, 1, 2) if len(row) == 3 else (0, 2, 3)))
        problem = _problem(qid, docid, rank, ranks.setdefault(qid, {}), documents.setdefault(qid, set()))
        if problem:
            raise RunError(f"{path} line {number}: {problem}; MS MARCO's evaluation does not accept the run")
        ranks[qid][int(rank)] = docid
        documents[qid].add(docid)
    return ranks


def reciprocal_rank(path: Path, relevant: Mapping[str, Collection[str]], cutoff: int) -> float:
    """Return MS MARCO's reciprocal rank of a run.

    Parameters
    ----------
    path
        A run in the format of MS MARCO or of TREC.
    relevant
        Relevant docids by qid.
    cutoff
        10 for passages, 100 for documents.

    Returns
    -------
    float
        The mean over all queries with judgements, those that the run lacks included.

    Raises
    ------
    RunError
        If the run is not acceptable.
    """
    total = 0.0
    for qid, ranks in read_ranks(path).items():
        wanted = relevant.get(qid, ())
        found = [rank for rank in range(1, cutoff + 1) if ranks.get(rank) in wanted]
        total += 1 / found[0] if found else 0.0
    return total / len(relevant)


def _problem(qid: str, docid: str, rank: str, ranks: Mapping[int, str], documents: set[str]) -> str | None:
    if not qid.isdigit():
        return f"the query id {qid!r} is no number"
    if not (rank.isascii() and rank.isdigit()) or not 1 <= int(rank) <= MOST_RANKS:
        return f"the rank {rank!r} is not from 1 to {MOST_RANKS}"
    if int(rank) in ranks:
        return f"the rank {rank} comes twice for query {qid}"
    if docid in documents:
        return f"the document {docid} comes twice for query {qid}"
    return None

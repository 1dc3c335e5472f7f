"""Training queries with the rows of their relevant documents, and their batches in a reproducible order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pyserini_jpq.errors import TrainingError


@dataclass(frozen=True)
class TrainingQuery:
    """A query with the rows and grades of its relevant documents; none where training needs no labels.

    Attributes
    ----------
    qid, text
        Id and text of the query.
    positives
        [P] int64, rows of the index, the highest grade first.
    grades
        [P] float32, above 0.
    """

    qid: str
    text: str
    positives: torch.Tensor
    grades: torch.Tensor


@dataclass(frozen=True)
class Coverage:
    """Counts of the queries and judgements that are trained on, and of what was left out."""

    queries: int
    judgements: int
    unknown_documents: int
    queries_without_text: int


def training_queries(
    topics: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], docids: Sequence[str], what: str
) -> tuple[list[TrainingQuery], Coverage]:
    """Match topics and qrels to the rows of the index.

    Parameters
    ----------
    topics
        Query texts by query id.
    qrels
        Grades by query id and docid; above 0 is relevant.
    docids
        The documents of the index, in row order.
    what
        The name of the qrels, for errors.

    Returns
    -------
    queries : list of TrainingQuery
        Queries with a text and at least one relevant document in the index, in the order of the topics.
    coverage : Coverage
        Counts of what matches and what does not.

    Raises
    ------
    TrainingError
        If nothing is left to train on.
    """
    rows = {docid: row for row, docid in enumerate(docids)}
    relevant = {q: {d: grade for d, grade in grades.items() if grade > 0} for q, grades in qrels.items()}
    queries = []
    known = 0
    for qid, text in topics.items():
        graded = sorted(((grade, rows[d]) for d, grade in relevant.get(qid, {}).items() if d in rows), reverse=True)
        if graded:
            known += len(graded)
            grades, positives = zip(*graded, strict=True)
            queries.append(TrainingQuery(qid, text, torch.tensor(positives), torch.tensor(grades).float()))
    named = {d for documents in relevant.values() for d in documents}
    unknown = sum(1 for d in named if d not in rows)
    if not queries:
        raise TrainingError(
            f"{what}: no query of the topics has a relevant document that the index holds "
            f"({len(topics)} topics, {len(named)} relevant documents named, {unknown} of them unknown); "
            "check that ids are written alike"
        )
    without_text = sum(1 for q, documents in relevant.items() if documents and q not in topics)
    return queries, Coverage(len(queries), known, unknown, without_text)


def unlabelled_queries(topics: Mapping[str, str]) -> list[TrainingQuery]:
    """Return all topics as queries without labels."""
    nothing = torch.empty(0, dtype=torch.int64), torch.empty(0)
    return [TrainingQuery(qid, text, *nothing) for qid, text in topics.items()]


class Batches:
    """Batches of queries by step number: every query once an epoch, shuffled by the seed.

    Parameters
    ----------
    queries
        All training queries.
    size
        Queries per batch; the last batch of an epoch may be smaller.
    seed
        Seed of the order.
    """

    def __init__(self, queries: Sequence[TrainingQuery], size: int, seed: int) -> None:
        self._queries = queries
        self.queries = len(queries)
        self._size = size
        self._seed = seed
        self.per_epoch = -(-len(queries) // size)
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __getitem__(self, step: int) -> list[TrainingQuery]:
        """Return the batch of a step, counted from 0."""
        epoch, batch = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._queries))
            self._epoch = epoch
        return [self._queries[i] for i in self._order[batch * self._size : (batch + 1) * self._size]]

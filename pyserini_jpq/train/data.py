"""Training queries with the rows of their relevant documents, and batches of them in a repeatable order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pyserini_jpq.errors import TrainingError


@dataclass(frozen=True)
class TrainingQuery:
    """A query and the rows of its relevant documents, [P] int64, at least one."""

    qid: str
    text: str
    positives: torch.Tensor


@dataclass(frozen=True)
class Coverage:
    """How topics, qrels and index fit: what is trained on, and what had to be left out."""

    queries: int
    judgements: int
    unknown_documents: int
    queries_without_text: int


def training_queries(
    topics: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], docids: Sequence[str], what: str
) -> tuple[list[TrainingQuery], Coverage]:
    """Match topics and qrels with the documents of the index.

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
        Those with a text and at least one relevant document that is known, in the order of the topics.
    coverage : Coverage
        Counts.

    Raises
    ------
    TrainingError
        If nothing is left to train on.
    """
    rows = {docid: row for row, docid in enumerate(docids)}
    relevant = {q: [d for d, grade in grades.items() if grade > 0] for q, grades in qrels.items()}
    queries = []
    known = 0
    for qid, text in topics.items():
        positives = [rows[d] for d in relevant.get(qid, []) if d in rows]
        if positives:
            known += len(positives)
            queries.append(TrainingQuery(qid, text, torch.tensor(positives)))
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


def batches(queries: Sequence[TrainingQuery], size: int, seed: int, start: int = 0) -> Iterator[list[TrainingQuery]]:
    """Give batches without end, every query once an epoch; step `start` and later are the same however often asked."""
    per_epoch = -(-len(queries) // size)
    step = start
    while True:
        order = np.random.default_rng((seed, step // per_epoch)).permutation(len(queries))
        for batch in range(step % per_epoch, per_epoch):
            yield [queries[i] for i in order[batch * size : (batch + 1) * size]]
            step += 1


def pad_positives(queries: Sequence[TrainingQuery], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positives of a batch, [B, P] int64, and which are none but padding, as [B, P] bool, false there."""
    positives = torch.nn.utils.rnn.pad_sequence([q.positives for q in queries], batch_first=True)
    lengths = torch.tensor([len(q.positives) for q in queries])
    mask = torch.arange(positives.shape[1])[None, :] < lengths[:, None]
    return positives.to(device), mask.to(device)

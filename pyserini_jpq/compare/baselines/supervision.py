"""What supervised baselines learn from: training queries, and the documents that are relevant to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Floats


@dataclass(frozen=True)
class Supervision:
    """Training queries, and which documents are relevant to which.

    Attributes
    ----------
    queries
        [Q, D] float32, by the encoder of the documents.
    pairs
        [P, 2] int64: row of a query, row of a document that is relevant to it.
    """

    queries: Floats
    pairs: NDArray[np.int64]

    def save(self, file: Path) -> None:
        """Write both into one file."""
        np.savez(file, queries=self.queries, pairs=self.pairs)

    @classmethod
    def load(cls, file: Path) -> "Supervision":
        """Read what `save` wrote."""
        with np.load(file) as held:
            return cls(held["queries"], held["pairs"])


def relevant_pairs(
    topics: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], docids: Sequence[str]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the texts of the queries that have a relevant document among the docids, and the pairs of both.

    Raises
    ------
    JPQError
        If there is no such query.
    """
    rows = {docid: row for row, docid in enumerate(docids)}
    texts: list[str] = []
    pairs: list[tuple[int, int]] = []
    for qid, text in topics.items():
        known = [rows[docid] for docid, grade in qrels.get(qid, {}).items() if grade > 0 and docid in rows]
        pairs += [(len(texts), row) for row in known]
        texts += [text] if known else []
    if not pairs:
        raise JPQError("no training query has a relevant document here; check --train-topics and --train-qrels")
    return texts, np.array(pairs, dtype=np.int64)

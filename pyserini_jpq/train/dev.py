"""Evaluation during training: dev queries, searched in the index as it is now."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pyserini_jpq.errors import TrainingError
from pyserini_jpq.evaluate.metrics import Metrics
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.search import IndexSearch

_BATCH, _HITS = 64, 1000


class DevSet:
    """Dev queries, evaluated repeatedly.

    Parameters
    ----------
    topics
        Query texts by query id; queries without judgements are ignored.
    qrels
        Grades by query id and docid.
    docids
        The documents of the index, in row order.
    metric
        A metric of ir_measures, such as `nDCG@10`.
    search
        Search of the index in training.
    held_out
        Whether the queries come from the training queries; these are evaluated after training only.

    Raises
    ------
    TrainingError
        If no dev query has a judgement.
    """

    def __init__(
        self,
        topics: Mapping[str, str],
        qrels: Mapping[str, Mapping[str, int]],
        docids: Sequence[str],
        metric: str,
        search: IndexSearch,
        held_out: bool = False,
    ) -> None:
        self._topics = {qid: text for qid, text in topics.items() if qid in qrels}
        if not self._topics:
            raise TrainingError("no query of --dev-topics is in --dev-qrels; check that query ids are written alike")
        self._qrels = {qid: qrels[qid] for qid in self._topics}
        self._docids = docids
        self._metrics = Metrics([metric])
        self._search = search
        self.held_out = held_out

    @torch.no_grad()
    def per_query(self, model: JPQModel) -> NDArray[np.float64]:
        """Return the metric of each dev query, [Q] float64, for the model as it is now."""
        model.eval()
        qids = list(self._topics)
        run: dict[str, dict[str, float]] = {}
        for start in range(0, len(qids), _BATCH):
            batch = qids[start : start + _BATCH]
            queries = model.encode([self._topics[q] for q in batch])
            offsets = self._search.search(queries, _HITS)
            scores = model.score(queries, offsets).cpu().tolist()
            for qid, rows, values in zip(batch, offsets.cpu().tolist(), scores, strict=True):
                run[qid] = {self._docids[row]: value for row, value in zip(rows, values, strict=True)}
        (values,) = self._metrics.per_query(self._qrels, run).values()
        return values

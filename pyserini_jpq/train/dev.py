"""Evaluation during training: dev queries, searched in the index as it is now."""

from collections import ChainMap
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pyserini_jpq.errors import TrainingError
from pyserini_jpq.evaluate.metrics import Metrics
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.search import IndexSearch

_BATCH, _HITS = 64, 1000


class DevSet:
    """Dev queries, evaluated repeatedly; batches are shared among processes.

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
    ranks
        The processes, which must all evaluate together.

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
        ranks: Ranks | None = None,
    ) -> None:
        self._topics = {qid: text for qid, text in topics.items() if qid in qrels}
        if not self._topics:
            raise TrainingError("no query of --dev-topics is in --dev-qrels; check that query ids are written alike")
        self._qrels = {qid: qrels[qid] for qid in self._topics}
        self._docids = docids
        self._metrics = Metrics([metric])
        self._search = search
        self.held_out = held_out
        self._ranks = ranks or Ranks()

    @torch.no_grad()
    def per_query(self, model: JPQModel) -> NDArray[np.float64]:
        """Return the metric of each dev query, [Q] float64, for the model as it is now."""
        model.eval()
        qids, ranks = list(self._topics), self._ranks
        batches = [qids[start : start + _BATCH] for start in range(0, len(qids), _BATCH)]
        run: dict[str, dict[str, float]] = {}
        for own in range(ranks.rank, len(batches) + ranks.rank, ranks.world):  # as many turns in each process
            run |= self._hits(model, batches[own] if own < len(batches) else [])
        values = ChainMap(*ranks.gathered(dict(zip(run, self._values(run), strict=True))))
        return np.array([values[qid] for qid in qids])

    def _hits(self, model: JPQModel, batch: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return scores by query id and docid; other processes search at the same time, maybe for more queries."""
        texts = [self._topics[qid] for qid in batch]
        queries = model.encode(texts) if texts else model.rotation[:0]
        offsets = self._search.search(queries, _HITS)
        scores = model.score(queries, offsets).cpu().tolist()
        return {
            qid: {self._docids[row]: value for row, value in zip(rows, values, strict=True)}
            for qid, rows, values in zip(batch, offsets.cpu().tolist(), scores, strict=True)
        }

    def _values(self, run: Mapping[str, Mapping[str, float]]) -> NDArray[np.float64]:
        """Return the metric of each query of a run."""
        if not run:
            return np.empty(0)
        (values,) = self._metrics.per_query({qid: self._qrels[qid] for qid in run}, run).values()
        return values

"""Where the documents come from that stand against the labelled positives of a query (figure 3 of the paper)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.search import FlatSearch, IndexSearch
from pyserini_jpq.train.teacher import ScoreFile

_BATCH = 256


class Negatives(ABC):
    """Chooses documents for the queries of a batch."""

    ranked = False
    """Whether documents come in the order of the index in training, so that their ranks are those of its users."""

    @abstractmethod
    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Return rows of the index, [B, C] int64, best first where `ranked`; positives may be among them.

        Parameters
        ----------
        step
            Number of the step, from 0.
        batch
            B queries.
        rotated_queries
            [B, D] float32, encoded by the model as it is now.
        """

    def state(self) -> Any:
        """Return what a checkpoint has to keep; nothing by default, as it keeps torch's random numbers anyway."""
        return None

    def load_state(self, state: Any) -> None:
        """Take up what `state` returned."""
        return


class LiveNegatives(Negatives):
    """What the index in training retrieves now, for the queries as they are encoded now: the negatives of JPQ.

    Parameters
    ----------
    search
        Of the index in training.
    count
        Documents of each query.
    every
        Search only once in so many steps, then for the batches of all of them.
    upcoming
        Returns the batch of a step.
    encode
        Returns queries rotated, [B, D] float32, without gradients; needed where `every` is above 1.
    """

    ranked = True

    def __init__(
        self,
        search: IndexSearch,
        count: int,
        every: int,
        upcoming: Callable[[int], Sequence[TrainingQuery]],
        encode: Callable[[Sequence[TrainingQuery]], torch.Tensor],
    ) -> None:
        self._search = search
        self._count = count
        self._every = every
        self._upcoming = upcoming
        self._encode = encode
        self._window = -1
        self._found: dict[str, torch.Tensor] = {}

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Search, or look up what the last search found for these queries."""
        if self._every == 1:
            return self._search.search(rotated_queries.detach(), self._count)
        if self._window != step // self._every:
            self._window = step // self._every
            queries = [q for s in range(step, (self._window + 1) * self._every) for q in self._upcoming(s)]
            hits = self._search.search(self._encode(queries), self._count)
            self._found = {query.qid: rows for query, rows in zip(queries, hits, strict=True)}
        return torch.stack([self._found[q.qid] for q in batch])

    def state(self) -> Any:
        """Return what was found for steps to come."""
        return {"window": self._window, "found": {qid: rows.cpu() for qid, rows in self._found.items()}}

    def load_state(self, state: Any) -> None:
        """Take up what was found for steps to come."""
        self._window, self._found = state["window"], state["found"]


class StaticNegatives(Negatives):
    """What the index retrieved before training, for queries as they were encoded then."""

    def __init__(self, found: torch.Tensor, queries: Sequence[TrainingQuery]) -> None:
        self._found = found
        self._rows = {q.qid: row for row, q in enumerate(queries)}

    @classmethod
    def of_search(
        cls, search: IndexSearch, queries: Sequence[TrainingQuery], rotated: torch.Tensor, count: int
    ) -> "StaticNegatives":
        """Search once for all queries, [N, D] float32 rotated."""
        parts = [search.search(part, count).int().cpu() for part in rotated.split(_BATCH)]
        return cls(torch.cat(parts), queries)

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Look the documents up."""
        return self._found[[self._rows[q.qid] for q in batch]].long().to(rotated_queries.device)


class BruteForceNegatives(Negatives):
    """What the uncompressed embeddings retrieve for the queries as they are encoded now, as in ADORE (SIGIR 2021)."""

    def __init__(self, search: FlatSearch, rotation: torch.Tensor, count: int) -> None:
        self._search = search
        self._rotation = rotation
        self._count = count

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Search the embeddings; the rotation is taken back, being orthogonal."""
        return self._search.search(rotated_queries.detach() @ self._rotation, self._count)


class RandomNegatives(Negatives):
    """Documents by chance."""

    def __init__(self, documents: int, count: int) -> None:
        self._documents = documents
        self._count = min(count, documents)

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Draw documents, with torch's random numbers of the CPU."""
        drawn = torch.randint(self._documents, (len(batch), self._count))
        return drawn.to(rotated_queries.device)


class ScoredDocuments(Negatives):
    """What a file of a teacher's scores holds for a query: without a score, a document teaches nothing.

    Parameters
    ----------
    scores
        The file.
    count
        Documents of each query, at most; drawn anew at every step where there are more.
    """

    def __init__(self, scores: ScoreFile, count: int) -> None:
        self._scores = scores
        self._count = count

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Take the documents that the file scores; -1 fills up where there are fewer."""
        rows = [found[torch.randperm(len(found))[: self._count]] for found in self._scores.scored(batch)]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        return padded.to(rotated_queries.device)

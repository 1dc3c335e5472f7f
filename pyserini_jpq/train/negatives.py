"""Sources of negatives: the documents that compete with the labelled positives of a query (figure 3 of the paper)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.distributed import Ranks
from pyserini_jpq.train.search import FlatSearch, IndexSearch, search_shared
from pyserini_jpq.train.teacher import ScoreFile

_BATCH = 256


class Negatives(ABC):
    """Chooses documents for the queries of a batch."""

    ranked = False
    """Whether documents are in the order of the index in training, so that their position is their rank."""

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
            [B, D] float32, encoded by the model in training.
        """

    def attend(self, step: int, nothing: torch.Tensor) -> None:
        """Take part in what other processes search for a batch of which this one has no query; `nothing` is [0, D]."""
        return

    def state(self) -> Any:
        """Return what a checkpoint has to keep besides the state of torch's random number generators."""
        return None

    def load_state(self, state: Any) -> None:
        """Restore what `state` returned."""
        return


class LiveNegatives(Negatives):
    """The top documents of the index in training for the current query vectors: the negatives of JPQ.

    Parameters
    ----------
    search
        Search of the index in training.
    count
        Documents per query.
    every
        Steps from one search to the next; each search covers the batches of all of them.
    upcoming
        Returns the batch of a step.
    encode
        Returns rotated queries, [B, D] float32, without gradients; called if `every` is above 1.
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
        """Search, or take what the last search found for these queries."""
        if self._every == 1:
            return self._search.search(rotated_queries.detach(), self._count)
        self._renew(step)
        return torch.stack([self._found[q.qid] for q in batch])

    def attend(self, step: int, nothing: torch.Tensor) -> None:
        """Search with the other processes."""
        if self._every == 1:
            self._search.search(nothing, self._count)
        else:
            self._renew(step)

    def _renew(self, step: int) -> None:
        """Search for the batches of some steps, if this is the first of them."""
        if self._window != step // self._every:
            self._window = step // self._every
            queries = [q for s in range(step, (self._window + 1) * self._every) for q in self._upcoming(s)]
            hits = self._search.search(self._encode(queries), self._count)
            self._found = {query.qid: rows for query, rows in zip(queries, hits, strict=True)}

    def state(self) -> Any:
        """Return the results of the last search."""
        return {"window": self._window, "found": {qid: rows.cpu() for qid, rows in self._found.items()}}

    def load_state(self, state: Any) -> None:
        """Restore the results of the last search."""
        self._window, self._found = state["window"], state["found"]


class StaticNegatives(Negatives):
    """The top documents of the index before training, for the query vectors before training."""

    def __init__(self, found: torch.Tensor, queries: Sequence[TrainingQuery]) -> None:
        self._found = found
        self._rows = {q.qid: row for row, q in enumerate(queries)}

    @classmethod
    def of_search(
        cls,
        search: IndexSearch,
        queries: Sequence[TrainingQuery],
        rotated: torch.Tensor,
        count: int,
        ranks: Ranks | None = None,
    ) -> "StaticNegatives":
        """Search once for all queries; `rotated` is [N, D] float32, the same in all processes."""
        ranks = ranks or Ranks()
        parts = [search_shared(search, ranks, part, count).int().cpu() for part in rotated.split(_BATCH)]
        return cls(torch.cat(parts), queries)

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Look the documents up."""
        return self._found[[self._rows[q.qid] for q in batch]].long().to(rotated_queries.device)


class BruteForceNegatives(Negatives):
    """The top documents by uncompressed embeddings for the current query vectors, as in ADORE (SIGIR 2021)."""

    def __init__(self, search: FlatSearch, rotation: torch.Tensor, count: int) -> None:
        self._search = search
        self._rotation = rotation
        self._count = count

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Search the embeddings with the queries rotated back."""
        return self._search.search(rotated_queries.detach() @ self._rotation, self._count)


class RandomNegatives(Negatives):
    """Random documents."""

    def __init__(self, documents: int, count: int) -> None:
        self._documents = documents
        self._count = min(count, documents)

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Draw documents by torch's random number generator of the CPU."""
        drawn = torch.randint(self._documents, (len(batch), self._count))
        return drawn.to(rotated_queries.device)


class ScoredDocuments(Negatives):
    """The documents that a teacher's score file scores for a query: margin-MSE learns from these only.

    Parameters
    ----------
    scores
        The file.
    count
        Most documents per query; of more, a new sample is drawn at every step.
    """

    def __init__(self, scores: ScoreFile, count: int) -> None:
        self._scores = scores
        self._count = count

    def choose(self, step: int, batch: Sequence[TrainingQuery], rotated_queries: torch.Tensor) -> torch.Tensor:
        """Take documents that the file scores; rows with fewer are padded with -1."""
        rows = [found[torch.randperm(len(found))[: self._count]] for found in self._scores.scored(batch)]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        return padded.to(rotated_queries.device)

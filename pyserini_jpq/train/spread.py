"""Codes spread over the processes that train together: each holds and searches its part of the documents."""

import torch

from pyserini_jpq.train.distributed import Ranks

SPREAD_FROM = 64 << 20
"""Bytes of codes from which they are spread unless told otherwise. Of fewer there is little memory to save, and the
messages may take longer than the search. The choice was not measured."""


class Part:
    """The documents whose codes this process holds: consecutive rows of the index, as many as the others hold.

    All processes must call a method together, as each does what the others ask it for.

    Parameters
    ----------
    ranks
        The processes.
    documents
        Number of documents N of the index.

    Attributes
    ----------
    rows : range
        The rows of this process.
    """

    def __init__(self, ranks: Ranks, documents: int) -> None:
        self.ranks, self.documents = ranks, documents
        self._starts = [documents * rank // ranks.world for rank in range(ranks.world + 1)]
        self.rows = range(*self._starts[ranks.rank : ranks.rank + 2])

    def codes(self, own: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the codes of documents, whoever holds them.

        Parameters
        ----------
        own
            [n, M] uint8, the codes of this process.
        rows
            Int64 of any shape; each row is asked for once.

        Returns
        -------
        torch.Tensor
            [*rows.shape, M] uint8.
        """
        wanted, places = rows.unique(return_inverse=True)  # sorted, and so by process
        ends = torch.searchsorted(wanted, torch.tensor(self._starts[1:-1], device=rows.device)).tolist()
        asked = wanted.tensor_split(ends)
        answers = [own[theirs - self.rows.start] for theirs in self.ranks.exchange(asked)]
        return torch.cat(self.ranks.exchange(answers, [len(part) for part in asked]))[places]

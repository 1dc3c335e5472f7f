"""Teachers: models stronger than the index that score queries and documents."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from pyserini_jpq.bars import Progress
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.precision import resolve_dtype
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.vectors import DocumentVectors
from pyserini_jpq.train.data import TrainingQuery

_BATCH = 64


class Teacher(Protocol):
    """Scores candidates."""

    def scores(self, queries: Sequence[TrainingQuery], offsets: torch.Tensor) -> torch.Tensor:
        """Return the scores of rows, [B, C] int64 to [B, C] float32; NaN where there is none."""


class DenseTeacher:
    """Inner products of uncompressed embeddings, with the query encoder before training.

    Parameters
    ----------
    encoder
        The query encoder before training; used by the constructor only.
    queries
        All training queries.
    embeddings
        Uncompressed embeddings in the order of the index; rows are read when needed.
    scale
        Factor of the scores, the same as for the index.
    """

    def __init__(
        self, encoder: Encoder, queries: Sequence[TrainingQuery], embeddings: DocumentVectors, scale: float
    ) -> None:
        self._vectors = encode_all(encoder, [q.text for q in queries]) * scale
        self._rows = {q.qid: row for row, q in enumerate(queries)}
        self._embeddings = embeddings

    def scores(self, queries: Sequence[TrainingQuery], offsets: torch.Tensor) -> torch.Tensor:
        """Return the inner products of the embeddings, [B, C] int64 to [B, C] float32."""
        vectors = self._vectors[[self._rows[q.qid] for q in queries]].to(offsets.device)
        return torch.einsum("bd,bcd->bc", vectors, document_vectors(self._embeddings, offsets))


class ScoreFile:
    """Scores from a file, such as those of a cross-encoder.

    Parameters
    ----------
    scores
        Scores by query id and docid.
    docids
        The documents of the index, in row order.
    what
        The name of the file, for errors.

    Raises
    ------
    TrainingError
        If it scores no document of the index.
    """

    def __init__(self, scores: Mapping[str, Mapping[str, float]], docids: Sequence[str], what: str) -> None:
        rows = {docid: row for row, docid in enumerate(docids)}
        self._scores = {q: {rows[d]: s for d, s in found.items() if d in rows} for q, found in scores.items()}
        if not any(self._scores.values()):
            raise TrainingError(f"{what} scores no document that the index holds; check that docids are written alike")

    def scores(self, queries: Sequence[TrainingQuery], offsets: torch.Tensor) -> torch.Tensor:
        """Return the scores of rows, [B, C] int64 to [B, C] float32; NaN for those without a score."""
        found = [
            [self._scores.get(q.qid, {}).get(row, float("nan")) for row in rows]
            for q, rows in zip(queries, offsets.tolist(), strict=True)
        ]
        return torch.tensor(found, device=offsets.device)

    def scored(self, queries: Sequence[TrainingQuery]) -> list[torch.Tensor]:
        """Return for each query the rows of all documents that the file scores, [L] int64 each."""
        return [torch.tensor(list(self._scores.get(q.qid, ())), dtype=torch.int64) for q in queries]


def document_vectors(embeddings: DocumentVectors, offsets: torch.Tensor) -> torch.Tensor:
    """Return the uncompressed embeddings of rows, [B, C] int64 to [B, C, D] float32; each row is read once."""
    rows, places = np.unique(offsets.cpu().numpy(), return_inverse=True)
    vectors = torch.from_numpy(embeddings.rows(rows)).to(offsets.device)
    return vectors[torch.from_numpy(places.reshape(offsets.shape)).to(offsets.device)]


@torch.no_grad()
def encode_all(encoder: Encoder, texts: Sequence[str]) -> torch.Tensor:
    """Encode queries without gradients, to [N, D] float32 on the CPU, in batches of similar length.

    The encoder uses its device's fastest number type that does not change rankings.
    """
    dtype = resolve_dtype("auto", encoder.device)
    was_training = encoder.training
    encoder.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = torch.empty(len(texts), encoder.dimension)
    for start in Progress(range(0, len(order), _BATCH), desc="encoding queries", unit=" batches", delay=2, leave=False):
        part = order[start : start + _BATCH]
        with torch.autocast(encoder.device.type, dtype, enabled=dtype != torch.float32):
            vectors[part] = encoder.encode_queries([texts[i] for i in part]).float().cpu()
    encoder.train(was_training)
    return vectors

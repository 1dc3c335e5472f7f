"""Training of DPQ: the linear map before codes are assigned, and the centroids."""

from typing import NamedTuple

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pyserini_jpq.compare.baselines.base import Rows, Supervision
from pyserini_jpq.quantizer import Floats

STEPS = 500
BATCH = 128
NEGATIVES = 4
"""Negatives of each query in a step, beside the documents of the other queries."""
DEPTH = 200
"""Best documents of the uncompressed vectors that negatives are drawn from."""
MOST_QUERIES = 16384
MAP_RATE, CENTROID_RATE = 1e-4, 1e-3
RECONSTRUCTION = 10.0
"""Weight of the squared error of reconstruction beside the ranking loss; of 1, 10, 30 and 100 the best on NFCorpus's
dev queries."""


class _Batch(NamedTuple):
    queries: Rows
    documents: Rows
    # [B, documents], True where a document is relevant and not the one to find
    left_out: Tensor


def train(
    vectors: Floats, rotation: Floats, centroids: Floats, supervision: Supervision, seed: int
) -> tuple[Floats, Floats]:
    """Train map and centroids.

    Parameters
    ----------
    vectors
        Of documents, [N, D] float32.
    rotation
        [D, D] float32, applied to queries; the map starts from it.
    centroids
        [M, K, D/M] float32, to start from, in the space of the rotation.
    supervision
        What to learn from.
    seed
        Of the order of queries and negatives.

    Returns
    -------
    coded_by : numpy.ndarray
        [D, D] float32, the map that codes are assigned after.
    centroids : numpy.ndarray
        [M, K, D/M] float32.
    """
    sampler = _Sampler(vectors, supervision, seed)
    rotated_by = torch.from_numpy(rotation)
    coded_by = torch.nn.Parameter(rotated_by.clone())
    table = torch.nn.Parameter(torch.from_numpy(centroids).clone())
    groups = [{"params": [coded_by], "lr": MAP_RATE}, {"params": [table], "lr": CENTROID_RATE}]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    scale = _scale(supervision.queries)
    for _ in range(STEPS):
        batch = sampler.draw()
        queries = torch.from_numpy(supervision.queries[batch.queries]) @ rotated_by.T
        documents = torch.from_numpy(vectors[batch.documents])
        decoded = quantized(documents @ coded_by.T, table)
        scores = (scale * queries @ decoded.T).masked_fill(batch.left_out, float("-inf"))
        ranking = functional.cross_entropy(scores, torch.arange(len(queries)))
        reconstruction = (documents @ rotated_by.T - decoded).square().sum(dim=1).mean()
        optimizer.zero_grad()
        (ranking + RECONSTRUCTION * reconstruction).backward()
        optimizer.step()
        schedule.step()
    return coded_by.detach().numpy(), table.detach().numpy()


def quantized(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Return the nearest centroids of vectors, with gradients for both (straight through the choice).

    Parameters
    ----------
    vectors
        [B, D] float32.
    centroids
        [M, K, D/M] float32.

    Returns
    -------
    torch.Tensor
        [B, D] float32.
    """
    m, _, width = centroids.shape
    parts = vectors.reshape(-1, m, width).transpose(0, 1)
    with torch.no_grad():
        codes = torch.cdist(parts, centroids).argmin(dim=2)
    chosen = centroids[torch.arange(m)[:, None], codes]
    return (chosen + parts - parts.detach()).transpose(0, 1).reshape(len(vectors), -1)


def _scale(queries: Floats) -> float:
    """Return the factor of scores: 20 for vectors of unit length, as in `train`, else 1."""
    lengths = np.linalg.norm(queries, axis=1)
    return 20.0 if np.allclose(lengths, 1, atol=1e-3) else 1.0


class _Sampler:
    """Draws batches of pairs, with negatives from the best documents of the uncompressed vectors."""

    def __init__(self, vectors: Floats, supervision: Supervision, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._pairs = supervision.pairs
        chosen = np.unique(self._pairs[:, 0])
        if len(chosen) > MOST_QUERIES:
            chosen = np.sort(self._random.choice(chosen, MOST_QUERIES, replace=False))
            self._pairs = self._pairs[np.isin(self._pairs[:, 0], chosen)]
        self._relevant: dict[int, set[int]] = {int(query): set() for query in chosen}
        for query, document in self._pairs.tolist():
            self._relevant[query].add(document)
        flat = faiss.IndexFlatIP(vectors.shape[1])
        flat.add(vectors)
        best = flat.search(supervision.queries[chosen], min(DEPTH, len(vectors)))[1]
        self._negatives = {
            int(query): np.array([row for row in rows if int(row) not in self._relevant[int(query)]])
            for query, rows in zip(chosen, best, strict=True)
        }

    def draw(self) -> _Batch:
        """Draw queries, a relevant document of each, then negatives of all."""
        pairs = self._pairs[self._random.integers(0, len(self._pairs), BATCH)]
        negatives = [
            self._random.choice(self._negatives[query], NEGATIVES)
            for query in pairs[:, 0].tolist()
            if len(self._negatives[query])
        ]
        documents = np.concatenate([pairs[:, 1], *negatives])
        left_out = [np.isin(documents, list(self._relevant[query])) for query in pairs[:, 0].tolist()]
        masked = torch.from_numpy(np.stack(left_out))
        masked.fill_diagonal_(False)
        return _Batch(pairs[:, 0], documents, masked)

"""Initial biases of the centroids: they offset what the codes lose of a document's score."""

from collections.abc import Sequence

import numpy as np
import torch

from pyserini_jpq.index.vectors import DocumentVectors
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.search import IndexSearch
from pyserini_jpq.train.teacher import document_vectors, encode_all

QUERIES = 512
"""Training queries that the weight is fitted to."""
HITS = 10
"""Best documents of each query: further down the ranking the fitted weight falls, and it matters less there."""


def start_biases(model: JPQModel, weight: float) -> None:
    """Set the bias of each centroid to minus `weight` times its squared norm.

    A document whose reconstruction is short has lost much of its norm, and so of its inner product with queries near
    it. A weight of 1/2 ranks by Euclidean distance to the reconstructions.
    """
    with torch.no_grad():
        model.biases.copy_(-weight * model.centroids.pow(2).sum(dim=2))


@torch.no_grad()
def fitted_weight(
    model: JPQModel, search: IndexSearch, queries: Sequence[TrainingQuery], embeddings: DocumentVectors, seed: int
) -> float:
    """Return the weight with which biases best offset the error of the scores, by least squares.

    Parameters
    ----------
    model
        Encoder and index before training, without biases.
    search
        Search of that index.
    queries
        Training queries; a sample is used.
    embeddings
        Uncompressed embeddings, in the order of the index.
    seed
        Seed of the sample.

    Returns
    -------
    float
        At least 0: minus the slope of the score's error over the squared norm of the reconstruction.
    """
    sample = np.random.default_rng(seed).permutation(len(queries))[:QUERIES]
    vectors = encode_all(model.encoder, [queries[i].text for i in sample]).to(model.codes.device)
    rotated = vectors @ model.rotation.T
    rows = search.search(rotated, HITS)
    exact = torch.einsum("bd,bcd->bc", vectors, document_vectors(embeddings, rows))
    error = exact - model.score(rotated, rows)
    squares = model.centroids.pow(2).sum(dim=2)
    norms = squares.gather(1, model.codes_of(rows.flatten()).long().T).sum(dim=0).view(rows.shape)
    spread = norms - norms.mean()
    variance = spread.pow(2).sum()
    return max(0.0, -(spread * error).sum().item() / variance.item()) if variance > 0 else 0.0

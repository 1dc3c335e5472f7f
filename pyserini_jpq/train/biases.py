"""Where biases start: from how much of a document's score its codes have lost."""

from collections.abc import Sequence

import numpy as np
import torch

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.search import IndexSearch
from pyserini_jpq.train.teacher import document_vectors, encode_all

QUERIES = 512
"""Training queries that the weight is fitted to."""
HITS = 10
"""Documents of each, the best: further down the list the weight falls, and there it matters less."""


def start_biases(model: JPQModel, weight: float) -> None:
    """Let the bias of each centroid be minus `weight` times its squared norm.

    The short reconstruction of a document is one whose codes lost much of it, and with it of its inner product with the
    queries near it. With a weight of 1/2 the order is that of the Euclidean distances to the reconstructions.
    """
    with torch.no_grad():
        model.biases.copy_(-weight * model.centroids.pow(2).sum(dim=2))


@torch.no_grad()
def fitted_weight(
    model: JPQModel, search: IndexSearch, queries: Sequence[TrainingQuery], embeddings: Embeddings, seed: int
) -> float:
    """Return the weight with which biases best make up for what codes lose of scores, by least squares.

    Parameters
    ----------
    model
        Encoder and index before training, without biases.
    search
        Of the index.
    queries
        Training queries, of which a sample is taken.
    embeddings
        Of the documents, in the order of the index.
    seed
        Of the sample.

    Returns
    -------
    float
        0 or above: minus the slope of the score's error over the squared norm of the reconstruction.
    """
    sample = np.random.default_rng(seed).permutation(len(queries))[:QUERIES]
    vectors = encode_all(model.encoder, [queries[i].text for i in sample]).to(model.codes.device)
    rotated = vectors @ model.rotation.T
    rows = search.search(rotated, HITS)
    exact = torch.einsum("bd,bcd->bc", vectors, document_vectors(embeddings, rows))
    error = exact - model.score(rotated, rows)
    squares = model.centroids.pow(2).sum(dim=2)
    norms = squares.gather(1, model.codes[rows.flatten()].long().T).sum(dim=0).view(rows.shape)
    spread = norms - norms.mean()
    variance = spread.pow(2).sum()
    return max(0.0, -(spread * error).sum().item() / variance.item()) if variance > 0 else 0.0

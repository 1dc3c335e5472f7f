"""Biases start from the norms of reconstructions, as far as these tell what codes lose of a score."""

import numpy as np
import pytest
import torch

from pyserini_jpq.train.biases import fitted_weight, start_biases
from pyserini_jpq.train.search import TorchSearch
from tests.train.helpers import query, tiny_model

pytestmark = pytest.mark.unit


class Rows:
    """Embeddings in memory."""

    def __init__(self, vectors):
        self._vectors = vectors

    def rows(self, rows):
        return self._vectors[rows]


class Table(torch.nn.Module):
    """A encoder that looks queries up."""

    def __init__(self, vectors):
        super().__init__()
        self.vectors = torch.nn.Parameter(vectors)

    dimension = property(lambda self: self.vectors.shape[1])
    device = torch.device("cpu")

    def encode_queries(self, texts):
        return self.vectors[[int(text) for text in texts]]


def fitted(residual):
    """Return the weight where documents are their reconstructions plus `residual` times these."""
    jpq, quantizer, codes = tiny_model(documents=400)
    jpq.encoder = Table(torch.randn(30, 12, generator=torch.Generator().manual_seed(1)))
    decoded = quantizer.decode(codes)
    documents = (decoded + residual(decoded)) @ quantizer.rotation
    queries = [query(qid=str(i), text=str(i)) for i in range(30)]
    return fitted_weight(jpq, TorchSearch(jpq), queries, Rows(documents.astype(np.float32)), seed=0)


def test_the_weight_is_fitted_by_least_squares():
    rng = np.random.default_rng(2)
    assert fitted(lambda decoded: 0 * decoded) < 1e-6
    # The longer the reconstruction, the less is lost: documents of one length.
    short = fitted(lambda decoded: decoded * (5 / np.linalg.norm(decoded, axis=1, keepdims=True) - 1))
    assert 0.1 < short < 1
    assert abs(fitted(lambda decoded: 0.01 * rng.normal(size=decoded.shape))) < 0.02
    # Where longer ones lose more, shorter ones are not helped.
    assert fitted(lambda decoded: 0.2 * decoded) == 0


def test_the_weight_makes_up_for_what_is_lost():
    jpq, quantizer, codes = tiny_model(documents=400)
    decoded = quantizer.decode(codes)
    documents = decoded * (5 / np.linalg.norm(decoded, axis=1, keepdims=True))
    queries = torch.randn(30, 12, generator=torch.Generator().manual_seed(1))
    jpq.encoder = Table(queries @ jpq.rotation)
    embeddings = Rows((documents @ quantizer.rotation).astype(np.float32))
    asked = [query(qid=str(i), text=str(i)) for i in range(30)]

    def agreement():
        exact = (queries.numpy() @ documents.T).argsort(axis=1)[:, ::-1][:, :10]
        ours = TorchSearch(jpq).search(queries, 10).numpy()
        return np.mean([len(set(a) & set(b)) for a, b in zip(exact, ours, strict=True)])

    before = agreement()
    start_biases(jpq, fitted_weight(jpq, TorchSearch(jpq), asked, embeddings, seed=0))
    assert agreement() > before + 0.5


def test_the_start_is_minus_the_squared_norm_of_the_reconstruction():
    jpq, quantizer, codes = tiny_model()
    start_biases(jpq, 0.25)
    queries = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    decoded = quantizer.decode(codes)
    expected = queries.numpy() @ decoded.T - 0.25 * (decoded**2).sum(axis=1)
    rows = torch.arange(50).expand(3, -1)
    assert np.allclose(jpq.score(queries, rows).detach().numpy(), expected, atol=1e-4)

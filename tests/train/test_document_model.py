"""The model of documents in training: codes follow vectors, which get the gradient of their centroids."""

import numpy as np
import pytest
import torch

from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.train.document_model import DocumentModel, MappedVectors, balanced, decoded_of, nearest
from tests.train.helpers import tiny_model
from tests.train.test_biases import Rows

pytestmark = pytest.mark.unit


class Vectors(Rows):
    """Vectors in memory, also block by block."""

    def blocks(self, rows):
        yield from np.array_split(self._vectors, 3)


@pytest.fixture
def model():
    """A model of 50 documents whose codes are those of other vectors."""
    before, quantizer, codes = tiny_model()
    vectors = np.random.default_rng(5).normal(size=(50, 12)).astype(np.float32)
    model = DocumentModel(
        torch.nn.Identity(), quantizer, codes.copy(), MappedVectors(Vectors(vectors), before.rotation)
    )
    with torch.no_grad():
        model.biases.normal_()
    return model, quantizer, vectors


def test_nearest_centroids_and_their_vectors(model):
    _, quantizer, vectors = model
    centroids = torch.from_numpy(quantizer.centroids)
    codes = nearest(torch.from_numpy(quantizer.rotate(vectors)), centroids)
    assert np.array_equal(codes.numpy(), quantizer.assign(vectors))
    assert np.array_equal(decoded_of(codes, centroids).numpy(), quantizer.decode(codes.numpy().astype(np.uint8)))


def test_documents_score_by_the_codes_of_their_mapped_vectors(model):
    jpq, quantizer, vectors = model
    with torch.no_grad():
        jpq.document_side.map.mul_(1.5)
    queries, rows = torch.randn(3, 12), torch.randint(50, (3, 7))
    codes = ProductQuantizer(jpq.document_side.map.detach().numpy(), quantizer.centroids).assign(vectors)
    own = jpq.quantizer()
    expected = own.score(queries.numpy() @ own.rotation, codes)
    scores = jpq.score(queries, rows).detach().numpy()
    assert np.allclose(scores, np.take_along_axis(expected, rows.numpy(), 1), atol=1e-4)
    assert not np.array_equal(jpq.codes.numpy(), codes)
    jpq.recode()
    assert np.array_equal(jpq.codes.numpy(), codes)


def test_the_map_gets_the_gradient_of_the_centroids(model):
    jpq, _, vectors = model
    queries, rows = torch.randn(1, 12), torch.tensor([[4]])
    jpq.score(queries, rows).sum().backward()
    assert torch.allclose(jpq.document_side.map.grad, torch.outer(queries[0], torch.from_numpy(vectors[4])), atol=1e-5)
    codes = nearest(jpq.document_side(rows[0]), jpq.centroids)[0]
    assert torch.allclose(jpq.centroids.grad[torch.arange(4), codes].flatten(), queries[0])
    assert jpq.centroids.grad.count_nonzero() == 12 and jpq.biases.grad.sum() == 4


def test_the_distance_draws_vectors_and_centroids_together(model):
    jpq, _, _ = model
    rows = torch.arange(50)[None]
    before = None
    for _ in range(20):
        jpq.zero_grad()
        jpq.score(torch.zeros(1, 12), rows)
        before = before or jpq.distance.item()
        jpq.distance.backward()
        with torch.no_grad():
            for parameter in (jpq.document_side.map, jpq.centroids):
                parameter.sub_(0.05 * parameter.grad)
    assert jpq.distance.item() < 0.9 * before


def test_balanced_codes_use_all_centroids_alike():
    chance = torch.Generator().manual_seed(3)
    centroids = torch.randn(2, 16, 3, generator=chance)
    # All vectors are nearest to few centroids.
    vectors = 0.3 * torch.randn(800, 6, generator=chance) + torch.cat([centroids[0, 0], centroids[1, 1]])
    for codes, most in ((nearest(vectors, centroids), 1.0), (balanced(vectors, centroids, 0.05), 0.12)):
        shares = torch.stack([codes[:, j].bincount(minlength=16) for j in range(2)]) / 800
        assert (shares.max() > 0.3) == (most == 1.0) and shares.max() <= most
    spread = centroids[:, torch.arange(64) % 16].transpose(0, 1).reshape(64, 6)
    assert torch.equal(balanced(spread, centroids, 0.05), nearest(spread, centroids))

import numpy as np
import pytest
import torch

from pyserini_jpq.index.faiss_format import from_faiss, to_faiss
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.scan import available
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.optimizer import make_optimizer
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.search import FaissSearch, FlatSearch, ScanSearch, TorchSearch
from tests.train.helpers import tiny_model

pytestmark = pytest.mark.unit


def test_all_searches_follow_the_centroids_the_biases_and_the_reference():
    jpq, _, codes = tiny_model()
    searches = [FaissSearch(jpq), TorchSearch(jpq)]
    searches += [ScanSearch(jpq)] if available() else []
    queries = torch.randn(6, 12, generator=torch.Generator().manual_seed(1))
    for change in (0.0, 1.0):
        with torch.no_grad():
            jpq.centroids += change * torch.randn(jpq.centroids.shape, generator=torch.Generator().manual_seed(2))
            jpq.biases += change * torch.randn(jpq.biases.shape, generator=torch.Generator().manual_seed(3))
        biases = jpq.biases.detach().numpy()[np.arange(4), codes].sum(axis=1)
        expected = queries.numpy() @ jpq.quantizer().decode(codes).T + biases
        for search in searches:
            found = search.search(queries, 1000)
            assert found.shape == (6, 50)
            assert found.tolist() == np.argsort(-expected, axis=1).tolist()
            assert torch.allclose(
                jpq.score(queries, found), torch.from_numpy(np.sort(-expected, axis=1) * -1), atol=1e-4
            )


def test_flat_search_over_blocks_is_exact():
    documents, queries = torch.randn(23, 5), torch.randn(4, 5)
    expected = (queries @ documents.T).argsort(dim=1, descending=True)
    for size in (1, 7, 23, 100):
        blocks = [part.numpy() for part in documents.split(size)]
        search = FlatSearch(lambda blocks=blocks: blocks)
        assert torch.equal(search.search(queries, 6), expected[:, :6])
        assert torch.equal(search.search(queries, 50), expected)


def test_centroids_move_as_the_paper_says():
    """Equation 19: the positive's own centroid gets -alpha q_i, the negative's +alpha q_i, a shared one nothing."""
    jpq, _, _ = tiny_model(documents=2, m=2)
    jpq.codes[:] = torch.tensor([[7, 1], [7, 2]], dtype=torch.uint8)
    query = torch.randn(1, 6, generator=torch.Generator().manual_seed(5))
    scores = jpq.score(query, torch.tensor([[0, 1]]))
    torch.nn.functional.softplus(scores[0, 1] - scores[0, 0]).backward()
    alpha = torch.sigmoid(scores[0, 1] - scores[0, 0]).item()
    gradient = jpq.centroids.grad
    assert torch.allclose(gradient[0], torch.zeros_like(gradient[0]), atol=1e-6)
    assert torch.allclose(gradient[1, 1], -alpha * query[0, 3:], atol=1e-5)
    assert torch.allclose(gradient[1, 2], alpha * query[0, 3:], atol=1e-5)
    # A bias is a coordinate of its centroid in which every query is 1.
    expected = torch.zeros(2, 256)
    expected[1, 1], expected[1, 2] = -alpha, alpha
    assert torch.allclose(jpq.biases.grad, expected, atol=1e-6)


def test_duplicates_in_code_space_do_not_move_each_other():
    """Two documents with one code: a positive and its double have one score, so the pair moves no centroid."""
    jpq, _, _ = tiny_model(documents=3)
    jpq.codes[1] = jpq.codes[0]
    scores = jpq.score(torch.randn(1, 12), torch.tensor([[0, 1]]))
    assert scores[0, 0] == scores[0, 1]
    torch.nn.functional.softplus(scores[0, 1] - scores[0, 0]).backward()
    assert torch.allclose(jpq.centroids.grad, torch.zeros_like(jpq.centroids.grad), atol=1e-7)


def test_codes_outlive_the_index_that_they_were_read_from():
    _, quantizer, codes = tiny_model(documents=5000)
    whole = to_faiss(quantizer, codes)
    jpq = JPQModel(torch.nn.Identity(), *from_faiss(whole, "x"))
    assert not np.shares_memory(jpq.codes.numpy(), from_faiss(whole, "x")[1])
    assert np.array_equal(jpq.codes.numpy(), codes)


@pytest.mark.unit
def test_additive_codes_score_and_learn_as_the_index_ranks():
    quantizer, codes = additive_quantizer(), np.random.default_rng(1).integers(0, 16, (50, 6), dtype=np.uint8)
    encoder = tiny_model()[0].encoder
    model = JPQModel(encoder, quantizer, codes)
    queries = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    scores = model.score(queries @ model.rotation.T, torch.arange(50).expand(3, -1))
    assert torch.allclose(scores, torch.from_numpy(quantizer.score(queries.numpy(), codes)), atol=1e-4)
    scores[0, 7].backward()
    moved = model.centroids.grad.abs().sum(dim=2) > 0
    assert model.additive and moved.sum() == 6 and all(moved[j, codes[7, j]] for j in range(6))
    rates = [group["lr"] for group in make_optimizer(model, TrainOptions()).param_groups]
    assert rates == pytest.approx([2e-5, 5e-6, 1e-5])


def additive_quantizer():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    biases = rng.normal(size=(6, 16)).astype(np.float32)
    return ProductQuantizer(rotation, rng.normal(size=(6, 16, 4)).astype(np.float32), biases)

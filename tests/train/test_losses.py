import numpy as np
import pytest
import torch

from pyserini_jpq.index.faiss import to_faiss
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.train.losses import reciprocal_rank_loss
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.negatives import FaissSearch, TorchSearch, split_candidates

pytestmark = pytest.mark.unit


def test_the_loss_of_a_hand_computed_example():
    positive, negative = torch.tensor([[1.0, 9.0]]), torch.tensor([[2.0, 0.5]])
    loss = reciprocal_rank_loss(
        positive,
        negative,
        torch.tensor([[2.0, float("inf")]]),
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[True, False]]),
        torch.tensor([[True, False]]),
    )
    assert loss.item() == pytest.approx(np.log1p(np.exp(1.0)) * 0.5, rel=1e-6)


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    positive = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    negative = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    ranks = torch.tensor([[1.0, 4.0, float("inf")]] * 2), torch.arange(1.0, 6.0).expand(2, 5)
    masks = torch.tensor([[True, True, False], [True] * 3]), torch.tensor([[True] * 5, [True] * 4 + [False]])
    assert torch.autograd.gradcheck(lambda p, n: reciprocal_rank_loss(p, n, *ranks, *masks), (positive, negative))


def test_huge_scores_do_not_overflow():
    ones = torch.ones(1, 1, dtype=torch.bool)
    loss = reciprocal_rank_loss(
        torch.tensor([[-1e6]]), torch.tensor([[1e6]]), torch.tensor([[2.0]]), torch.tensor([[1.0]]), ones, ones
    )
    assert loss.item() == pytest.approx(1e6)


def test_candidates_are_split():
    mask, ranks = split_candidates(
        torch.tensor([[5, 3, 9]]), torch.tensor([[9, 4, 5]]), torch.tensor([[True, True, False]])
    )
    assert mask.tolist() == [[True, True, False]]
    assert ranks.tolist() == [[3.0, float("inf"), float("inf")]]


def model(documents=50, m=4, size=3):
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(m * size, m * size)))[0].astype(np.float32)
    quantizer = ProductQuantizer(rotation, rng.normal(size=(m, 256, size)).astype(np.float32))
    codes = rng.integers(0, 256, (documents, m)).astype(np.uint8)
    return JPQModel(torch.nn.Identity(), quantizer, codes), quantizer, codes


def test_both_searches_follow_the_centroids_and_the_reference():
    jpq, quantizer, codes = model()
    searches = [FaissSearch(jpq, to_faiss(quantizer, codes)), TorchSearch(jpq)]
    queries = torch.randn(6, 12, generator=torch.Generator().manual_seed(1))
    for change in (0.0, 1.0):
        with torch.no_grad():
            jpq.centroids += change * torch.randn(jpq.centroids.shape, generator=torch.Generator().manual_seed(2))
        expected = queries.numpy() @ jpq.quantizer().decode(codes).T
        for search in searches:
            found = search.search(queries, 1000)
            assert found.shape == (6, 50)
            assert found.tolist() == np.argsort(-expected, axis=1).tolist()
            assert torch.allclose(
                jpq.score(queries, found), torch.from_numpy(np.sort(-expected, axis=1) * -1), atol=1e-4
            )


def test_centroids_move_as_the_paper_says():
    """Equation 19: the positive's own centroid gets -alpha q_i, the negative's +alpha q_i, a shared one nothing."""
    jpq, _, _ = model(documents=2, m=2)
    jpq.codes[:] = torch.tensor([[7, 1], [7, 2]], dtype=torch.uint8)
    query = torch.randn(1, 6, generator=torch.Generator().manual_seed(5))
    scores = jpq.score(query, torch.tensor([[0, 1]]))
    torch.nn.functional.softplus(scores[0, 1] - scores[0, 0]).backward()
    alpha = torch.sigmoid(scores[0, 1] - scores[0, 0]).item()
    gradient = jpq.centroids.grad
    assert torch.allclose(gradient[0], torch.zeros_like(gradient[0]), atol=1e-6)
    assert torch.allclose(gradient[1, 1], -alpha * query[0, 3:], atol=1e-5)
    assert torch.allclose(gradient[1, 2], alpha * query[0, 3:], atol=1e-5)

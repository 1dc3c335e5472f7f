import math

import pytest
import torch

from pyserini_jpq.train.losses import LABEL_LOSSES, TEACHER_LOSSES, with_listwise
from pyserini_jpq.train.options import LOSSES
from tests.train.helpers import candidates_of, query

pytestmark = pytest.mark.unit
NAN = float("nan")


def batch():
    """Two queries: graded positives one of which was retrieved and one of which was not, and one with padding."""
    return candidates_of([query((9, 2), (4, 1), (2, 1)), query((5, 1))], [[7, 9, 3, 8], [5, 6, 7, 1]])


def scores_of(candidates, seed=0):
    torch.manual_seed(seed)
    return torch.randn(candidates.mask.shape, dtype=torch.float64, requires_grad=True)


def test_the_recipe_knows_every_loss():
    assert set(LOSSES) == set(LABEL_LOSSES) | set(TEACHER_LOSSES)


@pytest.mark.parametrize("name", LABEL_LOSSES)
def test_gradients_of_label_losses_agree_with_finite_differences(name):
    candidates = batch()
    scores = scores_of(candidates)
    assert torch.autograd.gradcheck(lambda s: LABEL_LOSSES[name](s, candidates), (scores,))
    (gradient,) = torch.autograd.grad(LABEL_LOSSES[name](scores, candidates), scores)
    assert gradient[0].abs().sum() > 0
    assert (gradient[~candidates.mask] == 0).all(), "what is masked must not learn"


@pytest.mark.parametrize("name", TEACHER_LOSSES)
def test_gradients_of_teacher_losses_agree_with_finite_differences(name):
    candidates = batch()
    scores = scores_of(candidates)
    teacher = scores_of(candidates, seed=1).detach()
    teacher[0, 3] = teacher[1, 0] = NAN
    assert torch.autograd.gradcheck(lambda s: TEACHER_LOSSES[name](s, teacher, candidates), (scores,))
    (gradient,) = torch.autograd.grad(TEACHER_LOSSES[name](scores, teacher, candidates), scores)
    assert gradient.abs().sum() > 0 and gradient.isfinite().all()
    assert (gradient[~candidates.mask | teacher.isnan()] == 0).all()


@pytest.mark.parametrize("name", [*LABEL_LOSSES, *TEACHER_LOSSES])
def test_huge_scores_and_empty_queries_stay_finite(name):
    candidates = candidates_of([query((1, 1)), query()], [[1, 2], [-1, -1]])
    scores = torch.tensor([[-1e6, 0.0, 1e6], [0.0, 0.0, 0.0]], requires_grad=True)
    arguments = (candidates,) if name in LABEL_LOSSES else (torch.zeros(2, 3), candidates)
    loss = {**LABEL_LOSSES, **TEACHER_LOSSES}[name](scores, *arguments)
    loss.backward()
    assert math.isfinite(loss.item()) and scores.grad.isfinite().all()


def one_pair(rank=2):
    """The positive at a rank, one negative at rank 1; scores 1 and 2."""
    chosen = [7, *range(20, 18 + rank), 1]
    candidates = candidates_of([query((1, 1))], [chosen])
    mask = torch.zeros_like(candidates.mask)
    mask[0, 2 : 1 + len(chosen) - 1] = True
    scores = torch.full(candidates.mask.shape, 1.0)
    scores[0, 1] = 2.0
    return scores, candidates.without(mask)


def test_pairwise_losses_of_a_hand_computed_example():
    scores, candidates = one_pair()
    pair = math.log1p(math.exp(1.0))
    assert LABEL_LOSSES["ranknet"](scores, candidates).item() == pytest.approx(pair)
    assert LABEL_LOSSES["lambda-rr"](scores, candidates).item() == pytest.approx(pair * 0.5)
    assert LABEL_LOSSES["hinge"](scores, candidates).item() == pytest.approx(2.0)
    assert LABEL_LOSSES["listwise"](scores, candidates).item() == pytest.approx(pair)
    assert LABEL_LOSSES["lambda-ndcg"](scores, candidates).item() == pytest.approx(pair * (1 - 1 / math.log2(3)))


def test_a_positive_that_was_not_retrieved_has_no_weight_of_its_own():
    candidates = candidates_of([query((1, 1))], [[7, 8]])
    pair = math.log(2.0)
    # Weights 1/1 - 0 and 1/2 - 0, the mean over two pairs.
    assert LABEL_LOSSES["lambda-rr"](torch.zeros(1, 3), candidates).item() == pytest.approx(pair * (1 + 0.5) / 2)


def test_padding_and_more_queries_change_nothing():
    long, short = query((1, 1), (2, 1), (3, 1)), query((5, 1))
    both = candidates_of([long, short], [[7, 8, 9]] * 2)
    alone = [candidates_of([q], [[7, 8, 9]]) for q in (long, short)]
    scores = torch.randn(both.mask.shape)
    for loss in LABEL_LOSSES.values():
        values = [loss(scores[:1], alone[0]), loss(scores[1:, [0, 3, 4, 5]], alone[1])]
        assert loss(scores, both).item() == pytest.approx(sum(v.item() for v in values) / 2, rel=1e-5)


def test_graded_losses_put_the_higher_grade_first():
    candidates = candidates_of([query((1, 2), (2, 1))], [[1, 2, 3]])
    for name in ("ranknet", "lambda-rr", "lambda-ndcg", "hinge"):
        scores = torch.zeros(1, 5, requires_grad=True)
        LABEL_LOSSES[name](scores, candidates).backward()
        assert scores.grad[0, 0] < scores.grad[0, 1] < scores.grad[0, 4]


def test_listwise_masks_the_other_positives():
    candidates = candidates_of([query((1, 1), (2, 1))], [[1, 2, 3]])
    scores = torch.tensor([[0.0, 50.0, 0.0, 50.0, 0.0]])
    expected = (math.log(2.0) + math.log1p(math.exp(-50.0))) / 2
    assert LABEL_LOSSES["listwise"](scores, candidates).item() == pytest.approx(expected)


def test_the_listwise_loss_is_added_with_its_weight():
    scores, candidates = one_pair()
    pair = math.log1p(math.exp(1.0))
    assert with_listwise(LABEL_LOSSES["lambda-rr"], 0.1)(scores, candidates).item() == pytest.approx(pair * 0.6)


def test_distillation_is_zero_for_the_teachers_own_scores_up_to_a_constant():
    candidates = batch()
    teacher = torch.randn(candidates.mask.shape)
    assert TEACHER_LOSSES["distill"](teacher + 3.0, teacher, candidates).item() == pytest.approx(0.0, abs=1e-6)
    assert TEACHER_LOSSES["margin-mse"](teacher + 3.0, teacher, candidates).item() == pytest.approx(0.0, abs=1e-6)


def test_a_temperature_looks_further_down_the_list():
    candidates = candidates_of([query()], [list(range(6))])
    teacher = torch.tensor([[10.0, 8.0, 6.0, 4.0, 2.0, 0.0]])
    shares = []
    for temperature in (1.0, 5.0):
        scores = torch.zeros(1, 6, requires_grad=True)
        TEACHER_LOSSES["distill"](scores, teacher, candidates, temperature=temperature).backward()
        assert scores.grad.sum().abs() < 1e-5
        target = torch.softmax(teacher / temperature, dim=1)
        assert torch.allclose(scores.grad, temperature * (1 / 6 - target), atol=1e-5)
        shares.append((scores.grad[0, 1] / scores.grad[0, 0]).item())
    assert shares[1] > shares[0]


def test_margin_mse_measures_from_the_best_labelled_document():
    candidates = candidates_of([query((1, 1))], [[2, 3]])
    teacher = torch.tensor([[5.0, 8.0, NAN]])
    # Ours: 1 - 0 above the positive; the teacher's: 8 - 5.
    assert TEACHER_LOSSES["margin-mse"](torch.tensor([[0.0, 1.0, 9.0]]), teacher, candidates).item() == pytest.approx(
        (1.0 - 3.0) ** 2
    )

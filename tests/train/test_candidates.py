import pytest
import torch

from tests.train.helpers import candidates_of, query

pytestmark = pytest.mark.unit
INF = float("inf")


def test_positives_stand_first_with_their_ranks_and_grades():
    found = candidates_of([query((9, 2), (4, 1)), query((5, 1))], [[5, 3, 9], [5, 6, 7]])
    assert found.positives == 2
    assert found.offsets.tolist() == [[9, 4, 5, 3, 9], [5, 0, 5, 6, 7]]
    assert found.grades.tolist() == [[2, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert found.ranks.tolist() == [[3, INF, 1, 2, 3], [1, INF, 1, 2, 3]]
    assert found.mask.tolist() == [[True, True, True, True, False], [True, False, False, True, True]]
    assert found.negative_mask().tolist() == [[False, False, True, True, False], [False, False, False, True, True]]
    assert found.positive_mask().tolist() == [[True, True], [True, False]]


def test_row_zero_is_a_document_and_minus_one_is_none():
    found = candidates_of([query((0, 1)), query((7, 1))], [[0, 2, -1], [0, -1, -1]])
    assert found.mask.tolist() == [[True, False, True, False], [True, True, False, False]]
    assert found.ranks[0, 0] == 1 and found.ranks[1, 0] == INF


def test_a_document_that_was_drawn_twice_counts_once():
    found = candidates_of([query((1, 1))], [[5, 3, 5, 3, 5]], retrieved=0)
    assert found.mask.tolist() == [[True, True, True, False, False, False]]
    assert found.ranks[0].tolist() == [INF] * 6


def test_in_batch_negatives_are_the_other_queries_first_positives():
    found = candidates_of([query((1, 1)), query((2, 1), (1, 1)), query((8, 1))], [[8, 9]] * 3, in_batch=True)
    rows = [{int(r) for r, m in zip(*pair, strict=True) if m} for pair in zip(found.offsets, found.mask, strict=True)]
    # The first query's positive is one of the second's, too: no negative of it. 8 was retrieved already.
    assert rows == [{1, 8, 9, 2}, {2, 1, 8, 9}, {8, 9, 1, 2}]
    assert found.mask.sum(dim=1).tolist() == [4, 4, 4]


def test_queries_without_labels():
    found = candidates_of([query(), query()], [[3, 4], [5, 6]])
    assert found.positives == 0 and found.mask.all() and found.offsets.tolist() == [[3, 4], [5, 6]]


def test_ranks_by_score_leave_masked_columns_behind():
    found = candidates_of([query((9, 1))], [[5, 9, 3]]).ranked_by(torch.tensor([[2.0, 1.0, 99.0, 3.0]]))
    assert found.ranks[0, [0, 1, 3]].tolist() == [2, 3, 1]


def test_dropped_columns_are_masked():
    found = candidates_of([query((9, 1))], [[5, 3]])
    assert found.without(torch.tensor([[False, True, False]])).mask.tolist() == [[True, False, True]]

import pytest
import torch

from pyserini_jpq.train.data import Batches
from pyserini_jpq.train.negatives import (
    BruteForceNegatives,
    LiveNegatives,
    RandomNegatives,
    ScoredDocuments,
    StaticNegatives,
)
from pyserini_jpq.train.search import FlatSearch, TorchSearch
from pyserini_jpq.train.teacher import ScoreFile
from tests.train.helpers import query, tiny_model

pytestmark = pytest.mark.unit


def queries(count=10):
    return [query((i, 1), qid=f"q{i}", text=str(i)) for i in range(count)]


class CountingSearch:
    """Counts what it is asked, and answers from the index."""

    def __init__(self, model):
        self.inner = TorchSearch(model)
        self.asked = []

    def search(self, rotated, k):
        self.asked.append(len(rotated))
        return self.inner.search(rotated, k)


def live(every, count=5):
    jpq, _, _ = tiny_model()
    vectors = torch.randn(10, 12)
    batches = Batches(queries(), 4, seed=1)
    search = CountingSearch(jpq)

    def encode(batch):
        return vectors[[int(q.text) for q in batch]]

    return LiveNegatives(search, count, every, batches.__getitem__, encode), batches, search, encode


def test_live_negatives_search_at_every_step_unless_told_otherwise():
    negatives, batches, search, encode = live(every=1)
    for step in range(4):
        batch = batches[step]
        assert torch.equal(negatives.choose(step, batch, encode(batch)), search.inner.search(encode(batch), 5))
    assert search.asked == [4, 4, 2, 4]


def test_one_search_serves_several_steps_and_survives_a_checkpoint():
    negatives, batches, search, encode = live(every=3)
    found = [negatives.choose(step, batches[step], encode(batches[step])) for step in range(5)]
    assert search.asked == [10, 10]
    for step, rows in enumerate(found):
        assert torch.equal(rows, search.inner.search(encode(batches[step]), 5))
    other, _, other_search, _ = live(every=3)
    other.load_state(negatives.state())
    rows = other.choose(5, batches[5], encode(batches[5]))
    assert other_search.asked == [] and torch.equal(rows, negatives.choose(5, batches[5], encode(batches[5])))


def test_fewer_documents_than_negatives():
    negatives, batches, _, encode = live(every=1, count=1000)
    rows = negatives.choose(0, batches[0], encode(batches[0]))
    assert rows.shape == (4, 50) and rows.min() == 0 and rows.sort(dim=1).values.tolist() == [list(range(50))] * 4


def test_static_negatives_stay_what_they_were():
    jpq, _, _ = tiny_model()
    search, vectors = TorchSearch(jpq), torch.randn(10, 12)
    negatives = StaticNegatives.of_search(search, queries(), vectors, 7)
    before = search.search(vectors[[3, 1]], 7)
    with torch.no_grad():
        jpq.centroids += torch.randn(jpq.centroids.shape)
    batch = [queries()[3], queries()[1]]
    assert torch.equal(negatives.choose(0, batch, torch.randn(2, 12)), before)
    assert not torch.equal(search.search(vectors[[3, 1]], 7), before)


def test_brute_force_negatives_take_the_rotation_back():
    jpq, _, _ = tiny_model()
    documents, vectors = torch.randn(30, 12), torch.randn(4, 12)
    negatives = BruteForceNegatives(FlatSearch(lambda: [documents.numpy()]), jpq.rotation, 6)
    expected = (vectors @ documents.T).argsort(dim=1, descending=True)[:, :6]
    assert torch.equal(negatives.choose(0, queries(4), vectors @ jpq.rotation.T), expected)


def test_random_negatives_follow_torchs_random_numbers():
    negatives = RandomNegatives(50, 8)
    torch.manual_seed(3)
    first = negatives.choose(0, queries(4), torch.zeros(4, 12))
    torch.manual_seed(3)
    assert torch.equal(first, negatives.choose(9, queries(4), torch.zeros(4, 12)))
    assert first.shape == (4, 8) and first.min() >= 0 and first.max() < 50
    assert RandomNegatives(3, 8).choose(0, queries(1), torch.zeros(1, 12)).shape == (1, 3)


def test_batches_are_the_same_however_often_asked():
    batches = Batches(queries(), 4, seed=1)
    epoch = [q.qid for step in range(3) for q in batches[step]]
    assert sorted(epoch) == sorted(q.qid for q in queries()) and batches.per_epoch == 3
    again = Batches(queries(), 4, seed=1)
    assert [q.qid for q in again[4]] == [q.qid for q in batches[4]]
    assert [q.qid for q in again[2]] == epoch[8:]
    assert [q.qid for step in range(3, 6) for q in batches[step]] != epoch


def test_scored_documents_are_those_of_the_file():
    scores = ScoreFile({"q0": {"d3": 1.0, "d4": 2.0, "d5": 0.5}, "q2": {"d9": 1.0}}, [f"d{i}" for i in range(10)], "f")
    rows = ScoredDocuments(scores, 2).choose(0, queries(3), torch.zeros(3, 12))
    assert set(rows[0].tolist()) < {3, 4, 5} and rows[1].tolist() == [-1, -1] and rows[2].tolist() == [9, -1]

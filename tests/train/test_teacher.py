import numpy as np
import pytest
import torch

from pyserini_jpq.data.runs import read_scores
from pyserini_jpq.errors import TopicsError, TrainingError
from pyserini_jpq.train.losses import LABEL_LOSSES, TEACHER_LOSSES
from pyserini_jpq.train.objective import Objective, probable_positives
from pyserini_jpq.train.teacher import DenseTeacher, ScoreFile, document_vectors
from tests.train.helpers import candidates_of, query

pytestmark = pytest.mark.unit


class Rows:
    """Embeddings in memory."""

    def __init__(self, vectors):
        self.vectors = vectors
        self.read = 0

    def rows(self, rows):
        self.read += len(rows)
        return self.vectors[rows]


class Encoder(torch.nn.Module):
    """Encodes a text that is a number as the vector of that number."""

    dimension = 6
    device = torch.device("cpu")

    def encode_queries(self, texts):
        return torch.stack([torch.full((6,), float(text)) for text in texts])


def test_the_dense_teacher_gives_scaled_inner_products_of_the_embeddings():
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    queries = [query(qid=str(i), text=str(i)) for i in range(100)]
    rows = Rows(vectors)
    teacher = DenseTeacher(Encoder(), queries, rows, scale=20.0)
    offsets = torch.tensor([[3, 3, 7], [7, 0, 39]])
    scores = teacher.scores([queries[70], queries[2]], offsets)
    expected = np.stack([vectors[[3, 3, 7]] @ np.full(6, 70.0), vectors[[7, 0, 39]] @ np.full(6, 2.0)]) * 20
    assert np.allclose(scores.numpy(), expected, rtol=1e-5)
    assert rows.read == 4, "a document that several queries share is read once"


def test_embeddings_give_chosen_rows_across_files(built):
    from pyserini_jpq.encode.embeddings import Embeddings

    embeddings = Embeddings(built / "embeddings")
    whole = embeddings.sample(1000, 0)
    rows = torch.tensor([[5, 299], [0, 5]])
    assert np.array_equal(document_vectors(embeddings, rows).numpy(), whole[rows.numpy()])


def test_a_file_of_scores(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("q1 a 3.5\nq1\tb\t-1\nq2 a 2\nq1 unknown 9\n")
    scores = ScoreFile(read_scores(str(path)), ["a", "b", "c"], str(path))
    batch = [query(qid="q1"), query(qid="q3"), query(qid="q2")]
    found = scores.scores(batch, torch.tensor([[1, 2, 0]] * 3))
    assert found[0, [0, 2]].tolist() == [-1.0, 3.5] and found[2, 2] == 2.0
    assert found.isnan().sum() == 1 + 3 + 2
    assert [rows.tolist() for rows in scores.scored(batch)] == [[0, 1], [], [0]]
    with pytest.raises(TrainingError, match="scores no document that the index holds"):
        ScoreFile(read_scores(str(path)), ["x"], str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no score"), ("q a x\n", "line 1: score 'x'"), ("q a 1\nq b nan\n", "line 2"), ("q 1\n", "2 columns")],
)
def test_bad_files_of_scores(tmp_path, content, message):
    path = tmp_path / "scores.txt"
    path.write_text(content)
    with pytest.raises(TopicsError, match=message):
        read_scores(str(path))
    with pytest.raises(TopicsError, match="does not exist"):
        read_scores(str(tmp_path / "nowhere"))


class FixedTeacher:
    def __init__(self, scores):
        self.fixed = scores

    def scores(self, queries, offsets):
        return self.fixed


def test_documents_that_the_teacher_holds_for_relevant_are_no_negatives():
    candidates = candidates_of([query((1, 1), (2, 1))], [[1, 3, 4, 5]])
    taught = torch.tensor([[5.0, 7.0, 9.0, 6.5, 5.5, 8.0]])
    assert probable_positives(candidates, taught, 1.0).tolist() == [[False, False, False, True, False, True]]
    scores = torch.zeros(1, 6, requires_grad=True)
    loss = Objective(LABEL_LOSSES["ranknet"], None, FixedTeacher(taught), false_negatives=1.0)
    loss([], scores, candidates).backward()
    assert (scores.grad[0] != 0).tolist() == [True, True, False, False, True, False]


def test_objectives_add_up():
    candidates = candidates_of([query((1, 1))], [[1, 3, 4]])
    scores, taught = torch.randn(1, 4), torch.randn(1, 4)
    label, taught_loss = LABEL_LOSSES["listwise"], TEACHER_LOSSES["distill"]
    both = Objective(label, taught_loss, FixedTeacher(taught), teacher_weight=0.5)([], scores, candidates)
    expected = label(scores, candidates) + 0.5 * taught_loss(scores, taught, candidates)
    assert both.item() == pytest.approx(expected.item())
    assert Objective(label)([], scores, candidates).item() == pytest.approx(label(scores, candidates).item())

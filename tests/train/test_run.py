"""Training as a function: mappings and files give the same, and what cannot be used is one clear error."""

import pytest

import pyserini_jpq
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.errors import JPQError, TopicsError, TrainingError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.train.inputs import qrels_of, topics_of
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.run import train
from pyserini_jpq.train.trainer import Trainer
from tests.train.helpers import assert_same

OPTIONS = TrainOptions(epochs=2, num_negatives=20, batch_size=16, checkpoint_every=3, device="cpu", threads=1)


@pytest.fixture
def data(tiny_collection):
    """Topics and qrels by their part, as files and as mappings."""
    files, mappings = {}, {}
    for part in ("train", "dev"):
        files[part] = tiny_collection / f"topics.{part}.tsv", tiny_collection / f"qrels.{part}.txt"
        mappings[part] = read_topics(str(files[part][0])), read_qrels(str(files[part][1]))
    return files, mappings


def call(index, folder, data, options=OPTIONS, train=train, **more):
    (topics, qrels), (dev_topics, dev_qrels) = data["train"], data["dev"]
    more = {"output_encoder": folder / "enc", "dev_topics": dev_topics, "dev_qrels": dev_qrels, **more}
    return train(index, topics, qrels, folder / "x", options=options, **more)


@pytest.mark.integration
def test_mappings_train_as_files_do_and_go_on_where_they_stopped(built, data, tmp_path, monkeypatch):
    files, mappings = data
    index = built / "x.opq-m4"
    assert call(index, tmp_path / "files", files) == tmp_path / "files" / "x"
    mappings["train"] = mappings["train"][0], {qid: list(grades) for qid, grades in mappings["train"][1].items()}
    with monkeypatch.context() as patch:
        step = Trainer.step
        patch.setattr(Trainer, "step", lambda self, batch: step(self, batch) if self.step_number < 5 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call(str(index), tmp_path / "mappings", mappings)
    for part in ("train", "dev"):
        topics, qrels = mappings[part]
        changed = {**mappings, part: ({**topics, next(iter(topics)): "bado"}, qrels)}
        with pytest.raises(TrainingError, match="another index, queries or recipe"):
            call(index, tmp_path / "mappings", changed)
    steps = []
    monkeypatch.setattr(Trainer, "step", lambda self, batch: steps.append(self.step_number) or step(self, batch))
    call(index, tmp_path / "mappings", mappings)
    assert steps == [3, 4, 5, 6, 7]
    assert_same(tmp_path / "files", tmp_path / "mappings")
    trained = [IndexFolder(tmp_path / name / "x").manifest.training for name in ("files", "mappings")]
    assert trained[0] == trained[1]


@pytest.mark.integration
def test_the_public_name_and_a_recipe_of_values(built, data, tmp_path):
    folder = call(
        built / "x.opq-m4",
        tmp_path,
        data[1],
        train=pyserini_jpq.train,
        recipe={"lr": 0.25, "epochs": 9, "trained_share": 1.0},
    )
    recipe = IndexFolder(folder).manifest.training["recipe"]
    assert (recipe["lr"], recipe["epochs"], recipe["trained_share"]) == (0.25, 2, 1.0)


@pytest.mark.unit
def test_requests_that_do_not_go_together_name_what_is_missing(tmp_path):
    topics, qrels = {"q1": "bado"}, {"q1": "d1"}
    for given, message in (
        ({}, "learns from labels: give --qrels"),
        ({"qrels": qrels, "dev_topics": topics}, "go together"),
        ({"qrels": qrels, "options": TrainOptions(loss="margin-mse")}, "--scores go together"),
        ({"qrels": qrels, "scores": {"q1": {"d1": 1.0}}}, "--scores go together"),
        ({"qrels": qrels, "recipe": {"colour": 1}}, "colour"),
        (
            {"qrels": qrels, "dev_topics": topics, "dev_qrels": qrels, "options": TrainOptions(dev_metric="best")},
            "--dev-metric",
        ),
    ):
        with pytest.raises(JPQError, match=message):
            train(tmp_path / "nowhere", topics, **given)


@pytest.mark.unit
def test_labels_in_the_forms_that_people_have():
    assert qrels_of({"a": {"d1": 2, "d2": 0}, "b": ["d1", "d2"], "c": "d3", 4: {"d5"}, 5: 6}) == {
        "a": {"d1": 2, "d2": 0},
        "b": {"d1": 1, "d2": 1},
        "c": {"d3": 1},
        "4": {"d5": 1},
        "5": {"6": 1},
    }
    assert topics_of({1: "bado"}) == {"1": "bado"}


@pytest.mark.unit
@pytest.mark.parametrize("qrels", [{}, {"q": {"d": 0.5}}, {"q": {"d": "high"}}, {"q": None}, {"q": 1.5}])
def test_labels_that_cannot_be_used(qrels):
    with pytest.raises(TopicsError, match="qrels"):
        qrels_of(qrels)


@pytest.mark.unit
@pytest.mark.parametrize("topics", [{}, {"q": ""}, {"q": None}, {"q": ["bado"]}])
def test_topics_that_cannot_be_used(topics):
    with pytest.raises(TopicsError, match="topics"):
        topics_of(topics)

import argparse
import dataclasses

import pytest

from pyserini_jpq.cards import index_card
from pyserini_jpq.errors import JPQError, TrainingError
from pyserini_jpq.options import add_flags
from pyserini_jpq.train.options import Recipe, TrainOptions, changed, with_recipe

pytestmark = pytest.mark.unit


FIELDS = [
    *("epochs", "batch_size", "loss", "listwise_weight", "distill_weight", "distill_temperature", "false_negatives"),
    *("negatives", "num_negatives", "search_every", "in_batch_negatives", "loss_scores", "train_centroids"),
    *("train_biases", "norm_bias", "train_encoder", "lr", "centroid_lr", "bias_lr", "warmup", "weight_decay"),
    *("max_grad_norm", "score_scale", "trained_share", "seed"),
]


def parse(*words, recipe=None):
    parser = argparse.ArgumentParser()
    add_flags(parser, TrainOptions)
    return with_recipe(vars(parser.parse_args(words)), recipe)


def test_flags_come_before_the_card_and_the_card_before_our_defaults():
    name = "msmarco-v1-passage.jpq-m96"
    card = index_card(name).recipe
    assert parse(recipe=name).centroid_lr == card["centroid_lr"] == 1e-4
    assert parse("--centroid-lr", "0.5", recipe=name).centroid_lr == 0.5
    assert parse(recipe=name).warmup_steps(94_254) == 2000
    assert parse() == TrainOptions()


def test_every_field_is_a_flag():
    recipe = parse("--train-centroids", "no", "--negatives", "static", "--loss", "hinge", "--search-every", "4")
    assert recipe == TrainOptions(train_centroids=False, negatives="static", loss="hinge", search_every=4)


@pytest.mark.parametrize(
    "words",
    [("--loss", "nosuch"), ("--train-centroids", "maybe"), ("--lr", "0"), ("--warmup", "-1"), ("--epochs", "x")],
)
def test_bad_flags(words, capsys):
    with pytest.raises(SystemExit):
        parse(*words)
    assert words[0] in capsys.readouterr().err


def test_a_card_with_an_unknown_field_is_refused(tmp_path, monkeypatch):
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "odd.yaml").write_text("collection: c\nencoder: e\nm: 4\nrecipe: {colour: 1}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingError, match="colour"):
        parse(recipe="odd")


def test_what_needs_embeddings_and_labels():
    assert not dataclasses.replace(Recipe(), distill_weight=0.0).needs_embeddings
    for change in (
        {"loss": "distill"},
        {"distill_weight": 0.1},
        {"false_negatives": 0.0},
        {"loss_scores": "original"},
        {"negatives": "brute-force"},
    ):
        assert dataclasses.replace(Recipe(), **change).needs_embeddings
    assert Recipe().learns_from_labels and not Recipe(loss="distill").learns_from_labels


def test_a_recipe_may_be_a_mapping_and_gives_way_to_what_was_changed():
    options = with_recipe(changed(TrainOptions(lr=0.5, device="cpu")), {"lr": 0.25, "epochs": 3})
    assert options == TrainOptions(lr=0.5, epochs=3, device="cpu")
    with pytest.raises(TrainingError, match="colour, device"):
        with_recipe({}, {"colour": 1, "device": "cpu"})
    with pytest.raises(JPQError, match="epochs 'many' is not a whole number"):
        with_recipe({}, {"epochs": "many"})


def test_switches_have_no_value():
    options = parse("--no-resume", "--compile")
    assert options.compile and not options.resume and not options.gradient_checkpointing
    assert parse().resume


def test_the_fields_of_the_recipe_are_those_that_jpq_json_has_always_had():
    assert list(TrainOptions().recipe()) == FIELDS

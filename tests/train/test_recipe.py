import argparse
import dataclasses

import pytest

from pyserini_jpq.cards import index_card
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.train.recipe import Recipe, add_recipe_flags, recipe_of

pytestmark = pytest.mark.unit


def parse(*words, recipe=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default=recipe)
    add_recipe_flags(parser)
    return recipe_of(parser.parse_args(words))


def test_flags_come_before_the_card_and_the_card_before_our_defaults():
    name = "msmarco-v1-passage.jpq-m96"
    card = index_card(name).recipe
    assert parse(recipe=name).centroid_lr == card["centroid_lr"] == 1e-4
    assert parse("--centroid-lr", "0.5", recipe=name).centroid_lr == 0.5
    assert parse(recipe=name).warmup_steps(94_254) == 2000
    assert parse() == Recipe()


def test_every_field_is_a_flag():
    recipe = parse("--train-centroids", "no", "--negatives", "static", "--loss", "hinge", "--search-every", "4")
    assert recipe == Recipe(train_centroids=False, negatives="static", loss="hinge", search_every=4)


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

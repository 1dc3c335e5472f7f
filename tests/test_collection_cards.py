"""The cards of collections and indexes: they can be read, name files that can be fetched, and fit each other."""

import importlib.util
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pyserini_jpq import cards
from pyserini_jpq.download.download import name_of
from tests.conftest import cards_of

COLLECTIONS = list(cards_of("collections"))
INDEXES = list(cards_of("indexes"))
SIZES = (16, 24, 32, 48, 64, 96)

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def urls_of(card):
    return [u for urls in card.downloads.values() for u in ([urls] if isinstance(urls, str) else urls)]


def test_every_beir_collection_and_both_of_ms_marco():
    assert len([name for name in COLLECTIONS if name.startswith("beir-v1.0.0-")]) == 29
    assert {"msmarco-v1-passage", "msmarco-v1-doc"} <= set(COLLECTIONS)


def test_collections_are_named_as_pyserini_names_them():
    package = Path(importlib.util.find_spec("pyserini").origin).parent
    known = (package / "search" / "_base.py").read_text(encoding="utf-8")
    if "beir-v1.0.0" not in known:  # 2.x fetches the names of topics; those of encoded queries end in the same
        known = re.sub(r'"[\w.-]+-(beir-[\w.-]+)": {', r"'\1'", (package / "encoded_query_info.py").read_text("utf-8"))
    for name in COLLECTIONS:
        if name.startswith("beir-"):
            assert f"'{name}-test'" in known, name


@pytest.mark.parametrize("name", COLLECTIONS)
def test_collection_cards(name):
    card = cards.collection_card(name)
    assert card.documents and card.source.startswith("http") and card.notes and card.license
    assert bool(card.downloads) != bool(card.by_hand)
    for url in urls_of(card):
        assert urlsplit(url).scheme == "https" and name_of(url)
    assert set(card.checksums) <= set(card.downloads)
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", text) for text in card.checksums.values())
    for files in (card.topics, card.qrels):
        assert all(re.fullmatch(r"[\w.-]+-(train|dev)", topics) for topics in files)
    assert set(card.topics) == set(card.qrels)


@pytest.mark.parametrize("name", INDEXES)
def test_index_cards(name):
    card = cards.index_card(name)
    collection, kind, m = re.fullmatch(r"(.+)\.(opq|jpq)-m(\d+)", name).groups()
    assert (card.collection, card.m, card.bits) == (collection, int(m), 8)
    assert card.documents == cards.collection_card(card.collection).documents
    encoder = cards.encoder_card(card.encoder)
    assert encoder.dimension % card.m == 0
    assert bool(card.recipe) == (kind == "jpq") == bool(card.downloads)
    for url in urls_of(card):
        assert urlsplit(url).scheme == "https" and "dl=0" not in url
    if kind == "jpq":
        assert name_of(card.downloads["index"]) == f"OPQ{m},IVF1,PQ{m}x8.index"
        assert name_of(card.downloads["query_encoder"]) == f"m{m}.tar.gz"


def test_all_of_the_papers_tasks_have_their_recipe():
    from pyserini_jpq.train.options import Recipe

    rates = {16: 5e-6, 24: 5e-6, 32: 2e-5, 48: 1e-4, 64: 1e-4, 96: 1e-4}
    for task in ("passage", "doc"):
        for m in SIZES:
            recipe = Recipe(**cards.index_card(f"msmarco-v1-{task}.jpq-m{m}").recipe)
            assert (recipe.centroid_lr, recipe.lr, recipe.epochs, recipe.warmup) == (rates[m], 5e-6, 6, 2000)
            assert f"msmarco-v1-{task}.opq-m{m}" in INDEXES
    published = [u for name in INDEXES for u in urls_of(cards.index_card(name)) if "dropbox" in u]
    assert len(published) == len(set(published)) == 24


def test_expected_figures_of_the_paper():
    expected = cards.index_card("msmarco-v1-passage.jpq-m96").expected
    assert expected == {"dev RR@10": 0.341, "dev R@100": 0.868, "dl19 nDCG@10": 0.677, "dl19 R@100": 0.466}
    assert cards.index_card("msmarco-v1-doc.jpq-m96").expected["dev RR@100"] == 0.401

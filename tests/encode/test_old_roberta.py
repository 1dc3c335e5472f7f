"""Golden token ids, written down from the rules of transformers 2.8.0 (STAR, JPQ) and 2.3.0 (ANCE).

The vocabulary is made for the purpose: <s> <pad> </s> <unk> are 0 to 3, the byte b is 4 + b, " a" and " ab" are tokens
of their own (260, 261), and <mask> is 262. So every id can be told from the text by hand.
"""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.cards import EncoderCard, TextSide, encoder_card
from pyserini_jpq.encode.document import Document
from pyserini_jpq.encode.old_roberta import OldRobertaTokenizer, follows_old_rules
from pyserini_jpq.errors import EncoderError
from tests.conftest import make_encoder, roberta_tokenizer

S, E, MASK, UNK, PAD, A, AB = 0, 2, 262, 3, 1, 260, 261


def by(text: str) -> list[int]:
    """Give the ids of a text of which no two bytes are merged."""
    return [4 + byte for byte in text.encode()]


@pytest.fixture(scope="module")
def star():
    return OldRobertaTokenizer(roberta_tokenizer(), prefix_space=True)


@pytest.fixture(scope="module")
def ance():
    return OldRobertaTokenizer(roberta_tokenizer(), prefix_space=False)


GOLDEN = [
    # text, ids with a space in front (2.8.0), ids without (2.3.0)
    ("ab", [AB], by("ab")),
    ("AB Ab", [AB, AB], [*by("ab"), AB]),
    ("", [], []),
    (" \t\n ", [], []),
    # A space goes in front unless there is white space; what is there stays, and 2.3.0 trims it.
    (" ab", [AB], by("ab")),
    ("  ab", [*by(" "), AB], by("ab")),
    ("\tab", by("\tab"), by("ab")),
    ("\u3000ab", by("\u3000ab"), by("ab")),
    # The end is trimmed, of all that Python takes for white space.
    ("ab  ", [AB], by("ab")),
    ("ab\u00a0\x1f\u3000", [AB], by("ab")),
    # Inside a text white space stays; the last space before a word belongs to it.
    ("ab  ab", [AB, *by(" "), AB], [*by("ab "), AB]),
    ("ab\nab", [AB, *by("\nab")], by("ab\nab")),
    # Lower case goes character by character: a final sigma is as others, a dotted capital i becomes two characters.
    ("ΟΔΟΣ", by(" οδοσ"), by("οδοσ")),
    ("İ", by(" i\u0307"), by("i\u0307")),
    ("ẞÀ", by(" ßà"), by("ßà")),
    # Special tokens written out are tokens; white space before them goes, behind them none comes.
    ("ab</s>ab", [AB, E, *by("ab")], [*by("ab"), E, *by("ab")]),
    ("ab </s> ab", [AB, E, AB], [*by("ab"), E, *by("ab")]),
    ("</s>", [E], [E]),
    (" </s> ", [E], [E]),
    ("</s></s>ab", [E, E, *by("ab")], [E, E, *by("ab")]),
    ("<S>ab <MASK>", [S, *by("ab"), MASK], [S, *by("ab"), MASK]),
    ("<pad>ab<unk>", [PAD, *by("ab"), UNK], [PAD, *by("ab"), UNK]),
    ("<<s>>", [*by(" <"), S, *by(">")], [*by("<"), S, *by(">")]),
    # <sep> is none of them: five characters like any other.
    ("ab<SEP>ab", [AB, *by("<sep>ab")], by("ab<sep>ab")),
    ("日 🙂", by(" 日 🙂"), by("日 🙂")),
    ("\x00", by(" \x00"), by("\x00")),
]


@pytest.mark.unit
@pytest.mark.parametrize(("text", "with_space", "without"), GOLDEN)
def test_golden_token_ids(star, ance, text, with_space, without):
    assert star.encode([text], 64) == [[S, *with_space, E]]
    assert ance.encode([text], 64) == [[S, *without, E]]
    assert star.encode([text], 64, special_tokens=False) == [with_space]


@pytest.mark.unit
def test_cuts_leave_the_special_tokens_at_the_ends(star):
    assert star.encode(["ab ab </s> cd"], 5) == [[S, AB, AB, E, E]]
    assert star.encode(["ab"] * 2, 2) == [[S, E]] * 2
    assert star.encode(["ab" + " ab" * 5000], 10_000)[0][1:-1] == [AB] * 3333 + [A]
    assert star.encode([], 8) == []


@cache
def _any_text_tokenizer():
    return OldRobertaTokenizer(roberta_tokenizer(), prefix_space=True)


@pytest.mark.property
@given(st.lists(st.text(), max_size=5))
def test_every_text_alone_is_as_among_others(texts):
    tokenizer = _any_text_tokenizer()
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    assert tokenizer.encode(texts, 40) == [tokenizer.encode([text], 40)[0] for text in texts]


@pytest.mark.unit
def test_documents_of_ms_marco_are_joined_as_in_the_released_code(star):
    template = encoder_card("star-doc").document.template
    full = Document("D1", "Title", "Body", "http://u")
    assert full.render(template) == "http://u<sep>Title<sep>Body"
    assert Document("D2", "", "Body", "http://u").render(template) == "http://u<sep><sep>Body"
    assert Document("D3", "", "", "http://u").render(template) == "http://u<sep><sep>"
    assert star.encode([full.render(template)], 64) == [[S, *by(" http://u<sep>title<sep>body"), E]]
    other = full.render("{url:keep}</s>{title:keep}</s>{text:keep}")
    assert star.encode([other], 64) == [[S, *by(" http://u"), E, *by("title"), E, *by("body"), E]]


@pytest.mark.unit
def test_the_cards_of_the_family_ask_for_it_and_the_tower_does_it(tmp_path):
    from pyserini_jpq.encode.encoder import Encoder

    assert [name for name in ("star", "star-doc", "ance", "tas-b") if follows_old_rules(encoder_card(name))] == [
        *("star", "star-doc", "ance")
    ]
    folder = make_encoder(tmp_path / "e", head=True, tokenizer=roberta_tokenizer())
    options = {"do_lower_case": True, "add_prefix_space": True}
    card = EncoderCard(
        backbone=str(folder), architecture="ance", tokenizer_class="RobertaTokenizer", tokenizer_options=options
    )
    encoder = Encoder.load(card)
    assert encoder.tokenize(["AB </s> x", ""], TextSide(max_length=6)) == [[S, AB, E, *by(" x"), E], [S, E]]
    assert encoder.tokenize([], TextSide()) == []
    assert encoder.tokenize(["AB"], TextSide(prefix="ab ", max_length=6)) == [[S, AB, AB, E]]


@pytest.mark.unit
def test_another_kind_of_tokenizer_is_refused(tiny_encoder):
    from transformers import AutoTokenizer

    with pytest.raises(EncoderError, match="byte-level"):
        OldRobertaTokenizer(AutoTokenizer.from_pretrained(tiny_encoder), prefix_space=True)

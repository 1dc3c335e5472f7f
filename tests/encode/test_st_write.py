"""Encoder folders of ours, opened by sentence-transformers."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch

from pyserini_jpq.cards import EncoderCard, TextSide
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.source import find_encoder
from tests.conftest import WORDS, make_encoder, roberta_tokenizer
from tests.encode.models import make_model
from tests.encode.test_st_folder import make_folder, ours, theirs

pytestmark = pytest.mark.integration
TEXTS = ["bado", "Kefa BADO ligi", " ".join(WORDS), "mofa  rado "]


def saved(encoder, folder):
    folder.mkdir()
    encoder.save(folder, dataclasses.replace(encoder.card, backbone=".", tokenizer=None))
    return folder


def check(encoder, folder):
    """Compare three ways to encode queries: the encoder, its folder opened by us and by sentence-transformers."""
    with torch.inference_mode():
        expected = encoder.encode_queries(TEXTS).numpy()
    folder = saved(encoder, folder)
    again = find_encoder(str(folder)).load()
    assert again.weights_sha256() == encoder.weights_sha256()
    np.testing.assert_allclose(ours(folder, TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(theirs(folder, TEXTS), expected, atol=1e-6)
    # What sentence-transformers reads there, we read alike, without our own card.
    (folder / "encoder.yaml").unlink()
    np.testing.assert_allclose(ours(folder, TEXTS), expected, atol=1e-6)


CARDS = {
    "plain": {"pooling": "cls"},
    "mean, unit length": {"pooling": "mean", "normalize": True},
    "prompt and length": {"pooling": "mean", "query": TextSide("bado kefa ", 9), "document": TextSide("ligi ", 20)},
    "prompt left out": {"pooling": "mean", "include_prompt": False, "query": TextSide("bado kefa ", 9)},
    "cut": {"pooling": "max_tokens+mean", "normalize": True, "truncate_dim": 24},
    "lower case": {"pooling": "weightedmean_tokens", "lower_case": True},
}


@pytest.mark.parametrize("case", CARDS)
def test_vectors_are_those_of_the_query_encoder(tiny_encoder, tmp_path, case):
    check(Encoder.load(EncoderCard(backbone=str(tiny_encoder), **CARDS[case])), tmp_path / "saved")


@pytest.mark.parametrize(("kind", "pooling"), [("t5", "mean"), ("qwen3", "last"), ("modernbert", "cls")])
def test_of_other_kinds(tmp_path, kind, pooling):
    folder = make_model(tmp_path / "x", kind)
    check(Encoder.load(EncoderCard(backbone=str(folder), pooling=pooling, normalize=True)), tmp_path / "saved")


def test_of_what_training_writes(built):
    from pyserini_jpq.encode.queries import QueryVectors

    folder = built / "enc" / "x.jpq-m4"
    assert np.abs(QueryVectors(folder).encode(TEXTS) - theirs(folder, TEXTS)).max() < 1e-6


def test_of_a_sentence_transformers_folder(tmp_path):
    after = ("Dense:Tanh:bias:24", "LayerNorm", "Normalize", "Dense:Identity:none:20", "Normalize")
    folder = make_folder(tmp_path / "st", after=after, prompts={"query": "bado ", "document": "kefa "})
    source = find_encoder(str(folder))
    assert source.card.head == "2_Dense 3_LayerNorm 4_Normalize 5_Dense"
    encoder = source.load()
    with torch.no_grad():
        for parameter in encoder.parameters():  # as training moves all of them
            parameter.add_(0.01)
    check(encoder, tmp_path / "saved")


def test_the_head_of_ance_becomes_modules(tmp_path):
    folder = make_encoder(tmp_path / "ance", head=True, tokenizer=roberta_tokenizer())
    card = EncoderCard(backbone=str(folder), architecture="ance", query=TextSide(max_length=8))
    check(Encoder.load(card), tmp_path / "saved")


def test_what_cannot_be_said_is_told_in_the_folder(tiny_encoder, tmp_path):
    cases = {
        "masks": {"pooling": "mean", "query": TextSide("[CLS] ", 12, special_tokens=False, mask_padding=True)},
        "skipped": {"pooling": "mean", "skip_tokens": 2},
    }
    for name, fields in cases.items():
        folder = saved(Encoder.load(EncoderCard(backbone=str(tiny_encoder), **fields)), tmp_path / name)
        assert "sentence-transformers cannot say" in (folder / "README.md").read_text()
        st = pytest.importorskip("sentence_transformers")
        with warnings.catch_warnings(), pytest.raises(ValueError, match="pyserini_jpq"):
            warnings.simplefilter("ignore")
            st.SentenceTransformer(str(folder), device="cpu")
        assert json.loads((folder / "modules.json").read_text())
        assert find_encoder(str(folder)).load().dimension == 32

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from pyserini_jpq.cards import (
    EncoderCard,
    TextSide,
    card_names,
    encoder_card,
    parse_encoder_card,
    read_encoder_card,
)
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.errors import EncoderError, JPQError
from tests.conftest import make_encoder, run

pytestmark = pytest.mark.unit
TEXTS = ["bado", "kefa bado ligi", "mofa rado seho tiju nufa bagi"]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_padding_changes_nothing(tiny_encoder, pooling, normalize):
    encoder = Encoder.load(EncoderCard(backbone=str(tiny_encoder), pooling=pooling, normalize=normalize))
    with torch.inference_mode():
        together = encoder.encode_queries(TEXTS)
        alone = torch.cat([encoder.encode_queries([text]) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not normalize or torch.allclose(together.norm(dim=1), torch.ones(3))


def test_sides_prepare_their_texts(tiny_encoder):
    side = TextSide(prefix="bado ", max_length=6, special_tokens=False, mask_padding=True)
    card = EncoderCard(backbone=str(tiny_encoder), pooling="mean", query=side, skip_tokens=1)
    encoder = Encoder.load(card)
    mask = encoder.tokenizer.mask_token_id
    (ids,) = encoder.tokenize(["kefa"], side)
    assert ids[2:] == [mask] * 4 and len(ids) == 6
    with torch.inference_mode():
        states = encoder.backbone(*encoder.pad([ids])).last_hidden_state
        assert torch.allclose(encoder.encode_queries(["kefa"]), states[:, 1:].mean(1), atol=1e-6)
    assert encoder.tokenize([], side) == []
    assert encoder.tokenize(["bado " * 500], TextSide(max_length=500))[0][-1] == 3


def test_head_of_ance_and_round_trip(tmp_path):
    make_encoder(tmp_path / "ance", head=True)
    card = EncoderCard(
        backbone=str(tmp_path / "ance"), architecture="ance", tokenizer_class="PreTrainedTokenizerFast", dimension=32
    )
    encoder = Encoder.load(card)
    with torch.inference_mode():
        vectors = encoder.encode_queries(TEXTS)
    assert vectors.shape == (3, 32)
    (tmp_path / "saved").mkdir()
    encoder.save(tmp_path / "saved", dataclasses.replace(card, backbone="."))
    source = find_encoder(str(tmp_path / "saved"))
    again = Encoder.load(source.card, source.folder)
    assert again.weights_sha256() == encoder.weights_sha256()
    with torch.inference_mode():
        assert np.array_equal(again.encode_queries(TEXTS), vectors)


def test_what_cannot_be_loaded_is_one_line(tiny_encoder, tmp_path):
    for card, part in (
        (EncoderCard(backbone=str(tmp_path)), "cannot load"),
        (EncoderCard(backbone=str(tiny_encoder), dimension=7), "its card says 7"),
        (EncoderCard(backbone=str(tiny_encoder), tokenizer_class="NoSuch"), "no tokenizer class"),
        (EncoderCard(backbone=str(tiny_encoder), sha256={"config.json": "00"}), "SHA-256"),
    ):
        with pytest.raises(EncoderError, match=part) as problem:
            Encoder.load(card)
        assert "\n" not in str(problem.value)
    with pytest.raises(EncoderError, match="neither encoder"):
        find_encoder(str(tmp_path))
    with pytest.raises(EncoderError, match="did you mean"):
        find_encoder("all-minilm-l6-v3")
    assert find_encoder("intfloat/some-encoder").card.backbone == "intfloat/some-encoder"


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, "'backbone' is missing"),
        ({"backbone": "x", "colour": 1}, "unknown field 'colour'"),
        ({"backbone": 3}, "backbone: 3 is not"),
        ({"backbone": "x", "pooling": "max"}, "pooling 'max'"),
        ({"backbone": "x", "architecture": "t5"}, "architecture 't5'"),
        ({"backbone": "x", "query": {"max_length": 0}}, "at least 1"),
        ({"backbone": "x", "normalize": "yes"}, "normalize"),
        ({"backbone": "x", "pooling": "cls+max"}, "pooling 'cls\\+max'"),
        ({"backbone": "x", "head": "2_Dense ../3_Dense"}, "'../3_Dense' is no folder beside"),
        ({"backbone": "x", "subfolder": "../other"}, "'../other' is no folder beside"),
        ({"backbone": "x", "subfolder": "/etc"}, "'/etc' is no folder beside"),
        ({"backbone": "x", "truncate_dim": 0}, "truncate_dim must be at least 1"),
        ({"backbone": "x", "include_prompt": "no"}, "include_prompt"),
    ],
)
def test_bad_cards_are_refused(values, part):
    with pytest.raises(EncoderError, match=part):
        parse_encoder_card(values, "card.yaml")


def test_cards_keep_silent_about_what_older_versions_do_not_know():
    plain = EncoderCard(backbone="x").as_dict()
    assert not {"head", "subfolder", "include_prompt", "lower_case", "truncate_dim", "matryoshka"} & set(plain)
    said = {"head": "2_Dense", "include_prompt": False, "truncate_dim": 8}
    card = EncoderCard(backbone="x", **said)
    assert {**plain, **said} == card.as_dict()
    assert parse_encoder_card(card.as_dict(), "card.yaml") == card


def test_the_list_of_cards_is_printed(capsys):
    assert run("encode", "--list-encoders") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == card_names("encoders")
    assert any(line.split()[:5] == ["tas-b", "768", "30", "/", "200"] for line in lines)


def test_bad_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(EncoderError, match="no YAML"):
        read_encoder_card(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("- 1")
    with pytest.raises(EncoderError, match="no mapping"):
        read_encoder_card(tmp_path / "a.yaml")
    assert encoder_card("all-minilm-l6-v2").training_scale == 20
    assert EncoderCard(backbone="x").training_scale == 1


def test_devices_and_types():
    from pyserini_jpq.encode.precision import resolve_device, resolve_dtype

    cpu = resolve_device("cpu")
    assert resolve_dtype("bfloat16", cpu) == torch.bfloat16
    assert resolve_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    assert resolve_dtype("auto", torch.device("cuda")) == torch.float16
    with pytest.raises(JPQError, match="cannot be used here"):
        resolve_device("warp:9")


def test_broken_folders_are_refused_in_one_line(tiny_encoder, tmp_path):
    def changed(name, change):
        folder = tmp_path / name
        shutil.copytree(tiny_encoder, folder)
        change(folder)
        return EncoderCard(backbone=str(folder))

    def cut(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])

    def without_tokenizer(folder):
        for file in folder.glob("tokenizer*"):
            file.unlink()

    for card, part in (
        (changed("cut", cut), "cannot load the encoder .*/cut: "),
        (changed("wordless", without_tokenizer), "holds no tokenizer"),
        (EncoderCard(backbone="./no/such/folder", source="their page"), r"no folder; .* \(published at their page\)"),
        (EncoderCard(backbone=str(tiny_encoder), tokenizer_class="AutoModel"), "no tokenizer class 'AutoModel'"),
        (EncoderCard(backbone=str(tiny_encoder), tokenizer_class="logging"), "no tokenizer class 'logging'"),
    ):
        with pytest.raises(EncoderError, match=part) as problem:
            Encoder.load(card)
        assert "\n" not in str(problem.value)


def test_tokens_are_the_same_in_whatever_parts(tiny_encoder, monkeypatch):
    from pyserini_jpq.encode import pipeline

    encoder = Encoder.load(EncoderCard(backbone=str(tiny_encoder)))
    whole = pipeline.tokens_of(TEXTS * 5, encoder)
    monkeypatch.setattr(pipeline, "_TOKENIZED_AT_ONCE", 4)
    assert pipeline.tokens_of(TEXTS * 5, encoder) == whole == encoder.tokenize(TEXTS * 5, encoder.card.document)

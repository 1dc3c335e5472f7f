"""Checkpoints with weights that are missing, renamed, of other shapes, or too many."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.encode.strict import beyond_model, common_prefix, some_of
from pyserini_jpq.errors import EncoderError
from tests.conftest import make_encoder, run
from tests.encode.models import make_model

TEXTS = ["bado", "kefa bado ligi"]
PREFIXES = ("module.", "model.", "encoder.", "bert.", "0.auto_model.", "model.bert.")
WEIGHTS = "model.safetensors"


def changed(folder, place, change):
    """Copy an encoder, with its weights changed."""
    shutil.copytree(folder, place)
    weights = change(load_file(place / WEIGHTS))
    save_file({name: value.contiguous() for name, value in weights.items()}, place / WEIGHTS, {"format": "pt"})
    return place


def vectors(folder, **card):
    encoder = Encoder.load(EncoderCard(backbone=str(folder), **card))
    with torch.inference_mode():
        return encoder.encode_queries(TEXTS).numpy(), encoder.weights_sha256()


@pytest.mark.unit
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("file", ["safetensors", "bin", "shards"])
def test_weights_behind_a_prefix_are_found(tiny_encoder, tmp_path, caplog, prefix, file):
    folder = changed(tiny_encoder, tmp_path / "x", lambda weights: {prefix + n: v for n, v in weights.items()})
    if file == "bin":
        torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    if file == "shards":
        shards(folder)
    if file != "safetensors":
        (folder / WEIGHTS).unlink()
    (found, digest), (expected, known) = vectors(folder), vectors(tiny_encoder)
    assert np.array_equal(found, expected) and digest == known
    said = [record.getMessage() for record in caplog.records if "prefix" in record.msg or "behind" in record.msg]
    assert len(said) == (0 if prefix == "bert." else 1)  # which transformers knows of itself

    encoder = find_encoder(str(folder)).load()
    caplog.clear()
    (tmp_path / "saved").mkdir()
    encoder.save(tmp_path / "saved", EncoderCard(backbone="."))
    assert find_encoder(str(tmp_path / "saved")).load().weights_sha256() == known
    assert not caplog.records
    assert set(load_file(tmp_path / "saved" / WEIGHTS)) == set(load_file(tiny_encoder / WEIGHTS))


def shards(folder):
    """Write the weights of a folder in two files and an index."""
    weights = list(load_file(folder / WEIGHTS).items())
    names = {}
    for number, part in enumerate((weights[::2], weights[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file(dict(part), folder / file, {"format": "pt"})
        names |= {name: file for name, _ in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


@pytest.mark.unit
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_give_the_same_hash_when_they_were_saved(tiny_encoder, tmp_path, dtype):
    folder = changed(tiny_encoder, tmp_path / "x", lambda weights: {n: v.to(dtype) for n, v in weights.items()})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": str(dtype).removeprefix("torch.")}))
    encoder = Encoder.load(EncoderCard(backbone=str(folder)))
    assert {value.dtype for value in encoder.parameters()} == {torch.float32}
    (tmp_path / "saved").mkdir()
    encoder.save(tmp_path / "saved", EncoderCard(backbone="."))
    again = find_encoder(str(tmp_path / "saved")).load()
    assert again.weights_sha256() == encoder.weights_sha256()


def without(*parts):
    return lambda weights: {n: v for n, v in weights.items() if not any(part in n for part in parts)}


def renamed(old, new):
    return lambda weights: {n.replace(old, new): v for n, v in weights.items()}


def with_(name, like):
    return lambda weights: {**weights, name: next(v for n, v in weights.items() if n.endswith(like)).clone()}


FAULTS = {
    "layer": (without("layer.0."), r"has no weights for encoder.layer.0.\S+, \S+, \S+ and 13 more; copy it again"),
    "one": (without("word_embeddings"), r"has no weights for embeddings.word_embeddings.weight; copy"),
    "all": (lambda weights: {f"x.{i}": torch.zeros(100, 100) for i in range(9)}, r"no weights for .* and 18 more"),
    "renamed": (renamed("query", "q"), r"no weights for encoder.layer.0.attention.self.query.bias, \S+; copy"),
    "two prefixes": (
        lambda weights: {f"{p}.{n}": v.clone() for p in ("query", "doc") for n, v in weights.items()},
        "no weights for .* and 18 more",
    ),
    "half a prefix": (
        lambda weights: {("a." if i % 2 else "b.") + n: v for i, (n, v) in enumerate(weights.items())},
        "no weights for .* and 18 more",
    ),
    "shape": (
        lambda weights: {n: v[:16] if n.endswith("query.weight") else v for n, v in weights.items()},
        "other shapes than its config.json says: encoder.layer.0.attention.self.query.weight",
    ),
    "layers": (
        with_("encoder.layer.1.attention.self.query.weight", "query.weight"),
        "weights for encoder.layer.1.attention.self.query.weight, which its config.json does not count",
    ),
    "layers behind a prefix": (
        lambda weights: {
            f"module.{n}": v
            for n, v in with_("encoder.layer.1.output.dense.bias", "output.dense.bias")(weights).items()
        },
        "which its config.json does not count",
    ),
}


@pytest.mark.unit
@pytest.mark.parametrize("case", FAULTS)
def test_faulty_checkpoints_are_one_line(tiny_encoder, tmp_path, case):
    change, part = FAULTS[case]
    folder = changed(tiny_encoder, tmp_path / "x", change)
    with pytest.raises(EncoderError, match=part) as problem:
        vectors(folder)
    assert "\n" not in str(problem.value)


@pytest.mark.unit
def test_what_is_harmless_is_taken(tiny_encoder, tmp_path):
    expected = vectors(tiny_encoder)
    more = {
        "pooler": with_("pooler.dense.weight", "query.weight"),
        "positions": with_("embeddings.position_ids", "query.bias"),
        "head": with_("cls.predictions.bias", "query.bias"),
        "old names": lambda w: {
            n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
            for n, v in w.items()
        },
    }
    for name, change in more.items():
        found = vectors(changed(tiny_encoder, tmp_path / name, change))
        assert np.array_equal(found[0], expected[0]) and found[1] == expected[1]


@pytest.mark.unit
def test_a_pooler_that_is_missing_makes_no_hash_random(tmp_path):
    folder = changed(make_model(tmp_path / "albert", "albert"), tmp_path / "x", without("pooler"))
    assert len({vectors(folder)[1] for _ in range(3)}) == 1


@pytest.mark.unit
def test_tied_weights_are_not_missing(tmp_path):
    folder = make_model(tmp_path / "t5", "t5")
    assert "encoder.embed_tokens.weight" not in load_file(folder / WEIGHTS)
    assert vectors(folder)[1] == vectors(folder)[1]


@pytest.mark.unit
def test_the_head_of_ance_is_strict(tmp_path, caplog):
    card = {"architecture": "ance", "tokenizer_class": "PreTrainedTokenizerFast"}
    folder = make_encoder(tmp_path / "ance", head=True)
    expected = vectors(folder, **card)
    for part in ("norm.weight", "embeddingHead", "roberta.encoder"):
        faulty = changed(folder, tmp_path / part.strip("."), without(part))
        with pytest.raises(EncoderError, match=f"has no weights for .*{part}"):
            vectors(faulty, **card)
    found = vectors(changed(folder, tmp_path / "x", lambda w: {f"module.{n}": v for n, v in w.items()}), **card)
    assert np.array_equal(found[0], expected[0]) and found[1] == expected[1]
    assert "behind 'module.'" in caplog.text
    half = changed(folder, tmp_path / "half", lambda w: {n: v.half() for n, v in w.items()})
    assert Encoder.load(EncoderCard(backbone=str(half), **card)).backbone.dtype == torch.float32


@pytest.mark.integration
def test_nothing_is_written_of_a_faulty_checkpoint(tiny_encoder, tiny_collection, tmp_path, capsys):
    folder = changed(tiny_encoder, tmp_path / "faulty", FAULTS["layer"][0])
    corpus = tiny_collection / "documents.jsonl"
    before = sorted(tmp_path.iterdir())
    assert run("encode", "--corpus", corpus, "--encoder", folder, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and "and 13 more" in error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.unit
def test_names():
    assert common_prefix(["a.w", "b.w"], {"x.a.w", "x.b.w", "y.b.w"}) == "x."
    assert common_prefix(["a.w"], {"x.a.w", "y.a.w"}) is None
    assert common_prefix(["a.w"], {"xa.w"}) is None and common_prefix([], {"a"}) is None
    assert beyond_model(["layer.7.w", "head.7.w", "bert.layer.2.w"], ["layer.0.w"]) == ["bert.layer.2.w", "layer.7.w"]
    assert some_of("abcde") == "a, b, c and 2 more" and some_of("abc") == "a, b, c"

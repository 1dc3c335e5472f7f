import json
import os

import numpy as np
import pytest
import torch

from pyserini_jpq.cards import EncoderCard, encoder_card
from pyserini_jpq.convert.encoder import export_encoder, import_encoder, is_checkpoint
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.source import EncoderSource, find_encoder
from pyserini_jpq.errors import ConversionError, EncoderError, OutputError
from tests.convert.authors import reference_embedding, robertadot_weights, write_checkpoint, write_tokenizer

pytestmark = pytest.mark.unit
QUERIES = ["What is PQ?", "a", "ß, queries of any LENGTH " * 9]


@pytest.fixture
def checkpoint(tmp_path):
    return write_tokenizer(write_checkpoint(tmp_path / "m96"))


def embeddings_of(source):
    with torch.inference_mode():
        return Encoder.load(source.card, source.folder).encode_queries(QUERIES)


def test_old_checkpoints_give_the_embeddings_of_their_definition(checkpoint, tmp_path):
    source = import_encoder(checkpoint, tmp_path / "encoders" / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoders", "m96"]
    found = find_encoder(str(tmp_path / "encoders" / "x"))
    assert found.folder == source.folder and found.card == source.card
    star = encoder_card("star")
    assert (found.card.query, found.card.tokenizer_options) == (star.query, star.tokenizer_options)
    encoder = Encoder.load(found.card, found.folder)
    tokens = encoder.tokenize(QUERIES, found.card.query)
    assert [len(row) for row in tokens] == [14, 4, 32] and tokens[1][0] == 0 and tokens[1][-1] == 2
    with torch.inference_mode():
        expected = torch.stack([reference_embedding(robertadot_weights(), row) for row in tokens])
    assert torch.allclose(embeddings_of(found), expected, atol=1e-4)


def test_written_checkpoints_come_back(checkpoint, tmp_path):
    source = import_encoder(checkpoint, tmp_path / "x")
    export_encoder(source, tmp_path / "out")
    old = torch.load(tmp_path / "out" / "pytorch_model.bin", weights_only=True)
    beside = ("roberta.pooler", "classifier")
    expected = {name: value for name, value in robertadot_weights().items() if not name.startswith(beside)}
    assert old.keys() == expected.keys() and all(torch.equal(old[name], expected[name]) for name in old)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "roberta" and config["vocab_size"] == 270 and config["layer_norm_eps"] == 1e-5
    again = import_encoder(tmp_path / "out", tmp_path / "y")
    assert np.array_equal(embeddings_of(again), embeddings_of(source))
    with pytest.raises(OutputError, match="exists already"):
        export_encoder(source, tmp_path / "out")
    with pytest.raises(OutputError, match="exists already"):
        import_encoder(checkpoint, tmp_path / "y")
    import_encoder(checkpoint, tmp_path / "y", overwrite=True)


@pytest.mark.parametrize("form", ["safetensors", "zip", "parallel", "gamma"])
def test_other_forms_of_the_same_weights(tmp_path, form):
    from safetensors.torch import save_file

    weights = robertadot_weights()
    if form == "parallel":
        weights = {f"module.{name}": value for name, value in weights.items()}
    if form == "gamma":
        weights = {
            n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v for n, v in weights.items()
        }
    folder = write_checkpoint(tmp_path / "c", weights)
    if form == "safetensors":
        (folder / "pytorch_model.bin").unlink()
        save_file(weights, folder / "model.safetensors")
    if form == "zip":
        torch.save(weights, folder / "pytorch_model.bin")
    plain = import_encoder(write_tokenizer(write_checkpoint(tmp_path / "p")), tmp_path / "x")
    other = import_encoder(folder, tmp_path / "y", tokenizer=str(write_tokenizer(tmp_path / "t")))
    assert np.array_equal(embeddings_of(plain), embeddings_of(other))


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_weights_that_would_run_code_are_refused(checkpoint, tmp_path):
    for zipped in (True, False):
        weights = {**robertadot_weights(), "evil": Evil(tmp_path / "mark")}
        torch.save(weights, checkpoint / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ConversionError, match="nothing of it was run") as problem:
            import_encoder(checkpoint, tmp_path / "x")
        assert "\n" not in str(problem.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m96"]


def test_what_is_no_checkpoint_is_refused(checkpoint, tmp_path):
    def refused(error, match, **flags):
        with pytest.raises(error, match=match) as problem:
            import_encoder(checkpoint, tmp_path / "x", **flags)
        assert "\n" not in str(problem.value)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["m96"]

    path, whole = checkpoint / "pytorch_model.bin", (checkpoint / "pytorch_model.bin").read_bytes()

    def with_weights(weights):
        torch.save(weights, path)

    for cut in (0, 10, 5000):
        path.write_bytes(whole[:cut])
        refused(ConversionError, "cannot be read|more than weights, or is damaged")
    for value in ([1], {"a": 1}):
        with_weights(value)
        refused(ConversionError, "holds no weights by name")
    weights = robertadot_weights()
    with_weights({n: v for n, v in weights.items() if n != "norm.bias"})
    refused(ConversionError, r"it lacks norm.bias \(1 missing, 0 more\)")
    with_weights({**weights, "centroids": torch.zeros(3)})
    refused(ConversionError, "holds centroids, which is unknown")
    with_weights({**weights, "norm.bias": torch.zeros(3)})
    refused(ConversionError, "do not fit config.json: .*norm.bias")
    path.unlink()
    refused(ConversionError, "has neither pytorch_model.bin nor model.safetensors")
    (checkpoint / "model.safetensors").write_bytes(b"none")
    refused(ConversionError, "model.safetensors cannot be read")
    (checkpoint / "model.safetensors").unlink()
    path.write_bytes(whole)
    config = checkpoint / "config.json"
    good = json.loads(config.read_text())
    for text, match in (
        (json.dumps(good | {"model_type": "bert"}), "of the model type 'bert'"),
        (json.dumps({k: v for k, v in good.items() if k != "vocab_size"}), "without vocab_size"),
        ("[]", "no JSON object"),
        ("{", "no JSON object"),
    ):
        config.write_text(text)
        refused(ConversionError, match)
    config.unlink()
    refused(ConversionError, "has no config.json")
    config.write_text(json.dumps(good))
    refused(ConversionError, "needs a card of the architecture ance", card=EncoderCard(backbone="x"))
    refused(EncoderError, "put vocab.json and merges.txt", tokenizer=str(checkpoint / "nowhere"))
    assert is_checkpoint(checkpoint) and not is_checkpoint(tmp_path)


def test_other_encoders_cannot_be_exported(tiny_encoder, tmp_path):
    with pytest.raises(ConversionError, match=r"is no RobertaDot \(architecture auto\)"):
        export_encoder(EncoderSource("tiny", EncoderCard(backbone=str(tiny_encoder))), tmp_path / "x")
    assert not (tmp_path / "x").exists()

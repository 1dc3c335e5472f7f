"""Any backbone trains: one step changes encoder and centroids, and what is written is the encoder that was trained."""

import importlib.util

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    LlamaConfig,
    LlamaModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from pyserini_jpq.cards import EncoderCard, read_encoder_card
from pyserini_jpq.encode.ance import AnceBackbone
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.train.lora import add_lora
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.output import Outputs, write_encoder
from tests.conftest import make_encoder
from tests.train.helpers import tiny_model

pytestmark = pytest.mark.unit

SIZES = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
COMMON = {**SIZES, "vocab_size": 64, "max_position_embeddings": 40, "pad_token_id": 0}
BACKBONES = {
    "bert": (lambda: BertModel(BertConfig(**COMMON), add_pooling_layer=False), "cls"),
    "roberta": (lambda: RobertaModel(RobertaConfig(**COMMON), add_pooling_layer=False), "mean"),
    "mpnet": (lambda: MPNetModel(MPNetConfig(**{**COMMON, "pad_token_id": 1}), add_pooling_layer=False), "mean"),
    "distilbert": (
        lambda: DistilBertModel(
            DistilBertConfig(vocab_size=64, dim=12, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=40)
        ),
        "cls",
    ),
    "ance": (lambda: AnceBackbone(RobertaConfig(**COMMON)), "cls"),
    "llama": (lambda: LlamaModel(LlamaConfig(**COMMON, num_key_value_heads=2)), "last"),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("tokenizer"))


def load(name, tokenizer):
    torch.manual_seed(0)
    make, pooling = BACKBONES[name]
    make().save_pretrained(tokenizer)
    architecture = "ance" if name == "ance" else "auto"
    return Encoder.load(EncoderCard(str(tokenizer), architecture=architecture, pooling=pooling), tokenizer)


def take_step(model):
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1.0)
    queries = model.encode(["bado kefa", "ligi moho bado kefa"])
    scores = model.score(queries, torch.tensor([[0, 1], [2, 3]]))
    (scores[:, 0] - scores[:, 1]).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("lora", [False, True])
def test_a_step_trains_encoder_and_centroids(name, lora, tokenizer, tmp_path):
    if lora and importlib.util.find_spec("peft") is None:
        pytest.skip("peft is not installed (extra: lora)")
    encoder = load(name, tokenizer)
    before = encoder.weights_sha256()
    texts = ["bado kefa ligi", "moho"]
    with torch.no_grad():
        vectors = encoder.encode_queries(texts)
    if lora:
        add_lora(encoder, 2)
        assert torch.equal(encoder.encode_queries(texts), vectors), "an update of nothing changes nothing"
    _, quantizer, codes = tiny_model(m=4, size=3)
    model = JPQModel(encoder, quantizer, codes)
    for _ in range(2):  # the first step of LoRA moves one of its two factors only
        take_step(model)
    with torch.no_grad():
        trained = encoder.encode_queries(texts)
    assert not torch.allclose(trained, vectors, atol=1e-4)
    assert not np.array_equal(model.quantizer().centroids, quantizer.centroids)
    write_encoder(model, Outputs(tmp_path / "x", tmp_path / "enc", False))
    again = Encoder.load(read_encoder_card(tmp_path / "enc" / "encoder.yaml"), tmp_path / "enc")
    with torch.no_grad():
        assert torch.allclose(again.encode_queries(texts), trained, atol=1e-4)
    assert again.weights_sha256() == encoder.weights_sha256() != before


def test_the_last_token_is_that_of_the_text_not_of_the_padding(tokenizer):
    encoder = load("llama", tokenizer)
    with torch.no_grad():
        together = encoder.encode_queries(["bado", "ligi moho bado kefa"])
        alone = encoder.encode_queries(["bado"])
    assert torch.allclose(together[:1], alone, atol=1e-5)

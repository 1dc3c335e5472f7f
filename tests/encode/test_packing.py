"""Queries that share a row have the vectors that each has alone."""

import numpy as np
import pytest
import torch

from pyserini_jpq.encode import packing
from pyserini_jpq.encode.backend import query_backend
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.source import find_encoder
from tests.encode.models import KINDS, make_model

QUERIES = ["alpha", "beta gamma alpha", "one two three four five six seven", "gamma alpha", "alpha beta"]


def load(folder, kind, **changes):
    make_model(folder, kind)
    source = find_encoder(str(folder)).with_changes(changes)
    return Encoder.load(source.card, source.folder)


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max_tokens", "last", "mean+cls"])
def test_vectors_are_those_of_each_text_alone(tmp_path, monkeypatch, kind, pooling):
    prefix = {"query": {"prefix": "seven six "}, "include_prompt": pooling != "mean"}
    encoder = load(tmp_path / "m", kind, pooling=pooling, **prefix)
    encode = query_backend(encoder, "torch")
    assert encode.packs
    monkeypatch.setattr(packing, "TOKENS", 18)  # more than one row
    with torch.inference_mode():
        alone = torch.cat([encoder.encode_queries([query]) for query in QUERIES]).numpy()
    assert np.abs(encode(QUERIES) - alone).max() < 1e-5
    assert np.abs(alone[0] - alone[1]).max() > 1e-2


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"bert", "roberta", "xlm-roberta"}))
def test_models_of_other_positions_or_attention_are_padded(tmp_path, kind):
    encode = query_backend(load(tmp_path / "m", kind), "torch")
    assert not encode.packs and encode(QUERIES).shape[0] == len(QUERIES)


def test_a_model_that_takes_no_such_mask_is_padded(tmp_path, monkeypatch):
    encoder = load(tmp_path / "m", "bert")
    monkeypatch.setattr(encoder.backbone, "forward", lambda input_ids, attention_mask: None)
    assert not packing.can_pack(encoder)


def test_rows_hold_so_many_tokens(monkeypatch):
    monkeypatch.setattr(packing, "TOKENS", 10)
    assert packing._sizes([4, 6, 1, 20, 3, 3, 4, 5]) == [2, 1, 1, 3, 1]

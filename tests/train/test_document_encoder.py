"""Training of the document encoder: documents are encoded and coded again, and later ones by the new encoder."""

from functools import partial

import numpy as np
import pytest
import torch

import pyserini_jpq as jpq
from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.assign import assigner_of, assigning_quantizer
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.train.document_encoder import OnePositive, SampledNegatives
from pyserini_jpq.train.document_texts import EncodedTexts
from pyserini_jpq.train.negatives import RandomNegatives
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.run import train
from tests.train.helpers import assert_same, interrupted, query

OF_DOCUMENTS = {"train_documents": "full", "document_epochs": 2, "lr": 1e-3, "document_negatives": 3, "commitment": 0.1}
SMALL = {"epochs": 1, "num_negatives": 20, "batch_size": 16, "checkpoint_every": 2, "device": "cpu", "threads": 1}
OPTIONS = TrainOptions(**OF_DOCUMENTS, **SMALL)


def call(index, folder, data, **more):
    files = data / "topics.train.tsv", data / "qrels.train.txt"
    more = {"options": OPTIONS, "output_encoder": folder / "enc", "corpus": data / "documents.jsonl", **more}
    return train(index, *files, folder / "x", **more)


@pytest.mark.integration
def test_documents_are_encoded_again_also_after_interruptions(built, tiny_collection, tmp_path, monkeypatch):
    folder = call(built / "x.opq-m4", tmp_path / "whole", tiny_collection)
    manifest = IndexFolder(folder, verify=True).manifest
    before = IndexFolder(built / "x.opq-m4").manifest
    names = [manifest.document_encoder["sha256"], manifest.query_encoder["sha256"], before.document_encoder["sha256"]]
    assert len(set(names)) == 3 and not manifest.documents_mapped and manifest.embeddings is None
    trained = find_encoder(str(tmp_path / "whole" / "enc.documents")).load()
    assert trained.weights_sha256() == manifest.document_encoder["sha256"]
    again = partial(call, built / "x.opq-m4", tmp_path / "broken", tiny_collection)
    steps = interrupted(monkeypatch, again, (3, 7, 12))  # two in the documents' training, one in the queries'
    again()
    assert steps == [0, 1, 2, *range(2, 8), 0, 1, 2]
    assert_same(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.integration
def test_low_rank_updates_and_later_documents(built, tiny_collection, tmp_path):
    pytest.importorskip("peft", reason="peft is not installed")
    index = jpq.Index(call(built / "x.opq-m4", tmp_path, tiny_collection, options=OPTIONS_LORA))
    assert not [name for name in (tmp_path / "enc.documents").iterdir() if "adapter" in name.name]
    index.add(["new"], [text := " ".join(["bado", "kefa"] * 3)])
    folder = IndexFolder(index.path)
    quantizer, codes = from_faiss(whole := folder.read(), index.path)
    encoder = find_encoder(str(tmp_path / "enc.documents")).load()
    with torch.no_grad():
        vector = encoder(*encoder.pad(encoder.tokenize([text], encoder.card.document))).numpy()
    assert np.array_equal(assigner_of(assigning_quantizer(folder, quantizer)).assign(vector)[0], codes[-1]) and whole


OPTIONS_LORA = TrainOptions(**{**OF_DOCUMENTS, **SMALL, "train_documents": "lora", "document_epochs": 1})


@pytest.mark.integration
def test_without_texts_there_is_nothing_to_encode(built, tiny_collection, tmp_path):
    with pytest.raises(TrainingError, match="keeps no texts"):
        call(built / "x.opq-m4", tmp_path, tiny_collection, corpus=None)


@pytest.mark.unit
def test_texts_keep_their_places_and_give_gradients_without_keeping_activations(tiny_encoder):
    encoder = find_encoder(str(tiny_encoder)).load()
    words = ["bado", "kefa ligi moho nuju", "rado sefa", "tigi"] * 20
    rotation = torch.linalg.qr(torch.randn(32, 32)).Q
    documents = EncodedTexts(encoder, lambda rows: [words[row] for row in rows], rotation, torch.float32).eval()
    rows = torch.tensor([5, 0, 2, *range(60)])
    vectors = documents(rows)
    plain = torch.cat([encoder(*encoder.pad(encoder.tokenize([words[i]], encoder.card.document))) for i in rows])
    assert torch.allclose(vectors, plain @ rotation.T, atol=1e-5)
    grads = []
    for values in (vectors, plain @ rotation.T):
        encoder.zero_grad()
        values.square().sum(dim=0)[0].backward()
        grads.append(torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]))
    assert torch.allclose(*grads, atol=1e-4) and grads[0].abs().max() > 0


@pytest.mark.unit
def test_negatives_are_shared_by_a_batch_and_relevant_documents_are_none():
    queries = [query((3, 1), (4, 1), qid="a"), query((5, 1), qid="b")]
    batches = OnePositive(queries, 2, 1)
    drawn = {int(q.positives[0]) for step in range(20) for q in batches[step] if q.qid == "a"}
    assert drawn == {3, 4} and [q.qid for q in batches[3]] == [q.qid for q in batches[3]]
    labels = {q.qid: q.positives for q in queries}
    source = SampledNegatives(RandomNegatives(6, 6), labels, 4)
    batch = sorted(batches[0], key=lambda q: q.qid)
    chosen = source.choose(0, batch, torch.zeros(2, 4))
    assert chosen.shape[0] == 2 and not torch.isin(chosen[0], torch.tensor([3, 4])).any() and 5 not in chosen[1]
    assert 5 in chosen[0] and int(batch[0].positives[0]) in chosen[1]

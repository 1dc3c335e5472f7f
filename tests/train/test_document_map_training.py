"""Training of the document side: documents are mapped, coded again, and the index maps later ones by itself."""

from functools import partial

import numpy as np
import pytest
import torch

import pyserini_jpq as jpq
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.assign import assigner_of, assigning_quantizer
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.run import train
from tests.conftest import run
from tests.train.helpers import assert_same, interrupted

OF_DOCUMENTS = {"train_documents": "linear", "document_epochs": 2, "document_lr": 1e-2, "recode_every": 3}
SMALL = {"epochs": 2, "num_negatives": 20, "batch_size": 16, "checkpoint_every": 2, "device": "cpu", "threads": 1}
OPTIONS = TrainOptions(**OF_DOCUMENTS, **SMALL)


def call(index, folder, data, **more):
    files = data / "topics.train.tsv", data / "qrels.train.txt"
    more = {"options": OPTIONS, "output_encoder": folder / "enc", **more}
    return train(index, *files, folder / "x", **more)


def codes_of(folder):
    index = IndexFolder(folder, verify=True)
    quantizer, codes = from_faiss(whole := index.read(), folder)
    assert whole
    return index, quantizer, codes.copy()


@pytest.mark.integration
def test_documents_are_mapped_and_coded_again_also_after_interruptions(built, tiny_collection, tmp_path, monkeypatch):
    before = codes_of(built / "x.opq-m4")
    index, quantizer, codes = codes_of(call(built / "x.opq-m4", tmp_path / "whole", tiny_collection))
    embeddings = Embeddings(built / "embeddings")
    assigning = assigning_quantizer(index, quantizer)
    assert index.manifest.documents_mapped and index.manifest.training["recipe"]["train_documents"] == "linear"
    assert np.array_equal(codes, assigner_of(assigning).assign(embeddings.sample(300, 0)))
    for matrix in (assigning.rotation, quantizer.rotation):
        assert 0 < np.abs(matrix - before[1].rotation).max() < 0.5
    assert (codes != before[2]).any()
    again = partial(call, built / "x.opq-m4", tmp_path / "broken", tiny_collection)
    steps = interrupted(monkeypatch, again, (3, 7, 12))  # two in the documents' training, one in the queries'
    again()
    assert steps == [0, 1, 2, *range(2, 8), 0, 1, 2]
    assert_same(tmp_path / "whole", tmp_path / "broken")
    maps = [(tmp_path / name / "x" / "document_map.npy").read_bytes() for name in ("whole", "broken")]
    assert maps[0] == maps[1]


@pytest.mark.integration
def test_later_documents_and_later_training(built, tiny_collection, tmp_path, capsys):
    folder = call(built / "x.opq-m4", tmp_path, tiny_collection)
    index = jpq.Index(folder)
    text = " ".join(["bado", "kefa"] * 3)
    index.add(["new"], [text])
    found, quantizer, codes = codes_of(folder)
    vector = jpq.Index(built / "x.opq-m4").encode_queries([text])
    own = assigner_of(assigning_quantizer(found, quantizer)).assign(vector)
    assert np.mean(codes[-1] == own[0]) == 1 and found.manifest.documents == 301
    flags = ["--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt"]
    again = ["train", "--index", folder, "--output", tmp_path / "y", "--output-encoder", tmp_path / "enc2", *flags]
    assert run(*again, "--epochs", 1, "--device", "cpu", "--train-documents", "linear") == 2
    assert "mapped already" in capsys.readouterr().err
    assert run(*again, "--epochs", 1, "--device", "cpu") == 0
    after, _, later = codes_of(tmp_path / "y")
    assert np.array_equal(later, codes) and np.array_equal(after.document_map(), found.document_map())


@pytest.mark.integration
def test_what_cannot_be_mapped_is_one_line(built, tiny_collection, tmp_path, monkeypatch):
    monkeypatch.setattr("pyserini_jpq.train.inputs.find_embeddings", lambda *given: None)
    with pytest.raises(TrainingError, match="needs the documents' vectors"):
        call(built / "x.opq-m4", tmp_path, tiny_collection)
    assert torch.is_grad_enabled()

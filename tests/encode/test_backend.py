import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pyserini_jpq.cards import EncoderCard, TextSide
from pyserini_jpq.encode import onnx_model
from pyserini_jpq.encode.backend import query_backend
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.queries import QueryVectors
from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.errors import EncoderError, InstallationError, JPQError
from pyserini_jpq.paths import CACHE_VARIABLE
from tests.conftest import run

pytestmark = pytest.mark.integration
QUERIES = ["alpha beta", "gamma", "one two three four five six seven", "beta gamma alpha alpha"]


def needs(backend):
    for name in {"onnx": ("onnxruntime", "onnx"), "open": ("openvino", "onnxruntime", "onnx")}.get(backend[:4], ()):
        pytest.importorskip(name)


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    source = find_encoder(str(tiny_encoder)).with_changes({"pooling": "mean", "normalize": True})
    return Encoder.load(source.card, source.folder)


@pytest.fixture
def exports(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("backend", "least"), [("bfloat16", 0.999), ("onnx", 0.999999), ("onnx-int8", 0.99), ("openvino", 0.999999)]
)
def test_vectors_are_those_of_the_tower(encoder, exports, backend, least):
    needs(backend)
    weights = encoder.weights_sha256()
    encode, exact = query_backend(encoder, backend), query_backend(encoder, "torch")
    for queries in (QUERIES, QUERIES[:1], QUERIES[2:3]):
        vectors = encode(queries)
        assert vectors.shape == (len(queries), 32) and vectors.dtype == np.float32
        assert ((vectors * exact(queries)).sum(1) / np.linalg.norm(vectors, axis=1)).min() > least
    assert encoder.weights_sha256() == weights
    # Of different texts the vectors differ by more than the backends do.
    assert (vectors @ exact(QUERIES[:1]).T).max() < 0.99999


def test_queries_of_any_lengths_keep_their_order(tiny_encoder):
    queries = [" ".join(["alpha", "beta", "gamma"][: 1 + i % 3] * (1 + i * 7 % 5)) + f" {i}" for i in range(40)]
    vectors = QueryVectors(str(tiny_encoder))
    alone = np.concatenate([vectors.encode([query]) for query in queries])
    assert np.abs(vectors.encode(queries) - alone).max() < 1e-5 * np.abs(alone).max()


def test_an_encoder_is_exported_once(encoder, exports, caplog):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    caplog.set_level("INFO")
    first = query_backend(encoder, "onnx")(QUERIES)
    assert "once" in caplog.text and len(list(exports.iterdir())) == 1
    caplog.clear()
    assert np.array_equal(query_backend(encoder, "onnx")(QUERIES), first)
    assert caplog.text == ""


def test_what_cannot_be_is_one_line(encoder, exports, monkeypatch):
    with pytest.raises(JPQError, match="no encoder backend 'abacus'"):
        query_backend(encoder, "abacus")
    with pytest.raises(JPQError, match="runs on the CPU, not on meta"):
        query_backend(SimpleNamespace(device=torch.device("meta")), "onnx")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(onnx_model, "import_module", missing)
    with pytest.raises(InstallationError, match=r"pip install -e '\.\[onnx\]'"):
        query_backend(encoder, "onnx-int8")


def test_the_flag(built, tiny_collection, tmp_path, exports):
    from pyserini_jpq.data.runs import read_run

    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    runs = []
    for backend in ("torch", "onnx"):
        flags = ("--index", built / "x.jpq-m4", "--topics", tiny_collection / "topics.dev.tsv", "--overwrite")
        assert run("search", *flags, "--output", tmp_path / "run.txt", "--encoder-backend", backend) == 0
        runs.append(read_run(str(tmp_path / "run.txt")))
    for qid, hits in runs[0].items():
        assert runs[1][qid] == {docid: pytest.approx(score, abs=1e-4) for docid, score in hits.items()}
    assert len(list(exports.iterdir())) == 1


@pytest.mark.parametrize("pooling", ["cls", "last", "max_tokens+mean", "mean_sqrt_len_tokens", "weightedmean_tokens"])
def test_every_pooling_is_exported(tiny_encoder, exports, pooling):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    query = TextSide("alpha ", 12)
    card = EncoderCard(str(tiny_encoder), pooling=pooling, include_prompt=False, query=query, truncate_dim=20)
    encoder = Encoder.load(card)
    found, expected = query_backend(encoder, "onnx")(QUERIES), query_backend(encoder, "torch")(QUERIES)
    assert found.shape == (len(QUERIES), 20)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_model_that_lost_something_is_refused(encoder, exports, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.setattr(Encoder, "forward", lambda self, ids, mask: self.backbone(ids, mask).last_hidden_state[:, 1])
    exported = torch.onnx.export

    def another(*args, **options):
        exported(*args, **options)
        monkeypatch.undo()

    monkeypatch.setattr(torch.onnx, "export", another)
    with pytest.raises(EncoderError, match="gives other vectors in ONNX"):
        query_backend(encoder, "onnx")
    assert not list(exports.glob("*.onnx"))


@pytest.mark.parametrize(("backend", "least"), [("onnx", 0.999999), ("onnx-int8", 0.98), ("openvino", 0.999999)])
def test_documents(tiny_encoder, tmp_path, exports, backend, least):
    import pyserini_jpq as jpq

    needs(backend)
    documents = {f"d{i}": " ".join(["alpha", "bado", "kefa", "ligi"][i % 3 :] * (1 + i % 7)) for i in range(80)}
    expected = jpq.encode(documents, tiny_encoder, tmp_path / "torch").sample(80, 0)
    options = {"encoder_backend": backend, "batch_size": 8}
    made = jpq.encode(documents, tiny_encoder, tmp_path / "made", options=jpq.EncodeOptions(**options))
    assert list(made.docids()) == list(documents)
    assert made.computed == f"{backend} {'int8' if 'int8' in backend else 'float32'}"
    found = made.sample(80, 0)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > least and not np.array_equal(found, expected)


def test_what_documents_cannot_be_encoded_by(tiny_encoder, tmp_path, capfd):
    corpus = tmp_path / "c.jsonl"
    corpus.write_text(json.dumps({"id": "a", "contents": "alpha"}) + "\n")
    flags = ("--corpus", corpus, "--encoder", tiny_encoder, "--output", tmp_path / "e")
    for more, told in (
        (("--encoder-backend", "onnx", "--dtype", "bfloat16"), "--dtype bfloat16 is for --encoder-backend torch"),
        (("--encoder-backend", "openvino", "--device", "meta"), "runs on the CPU, not on meta|cannot be used here"),
        (("--encoder-backend", "abacus"), "invalid choice: 'abacus'"),
    ):
        assert run("encode", *flags, *more) == 2
        said = capfd.readouterr().err
        assert re.search(told, said) and said.count("\n") == 1, said
    assert not (tmp_path / "e").exists()

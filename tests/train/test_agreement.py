"""However the steps are computed (two processes, parts of a batch, a compiled encoder), they are the same steps."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.train.machine import check_compiler
from tests.conftest import ENCODER_FLAGS, make_encoder, run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def without_dropout(tiny_collection, tmp_path_factory):
    """Dropout differs from process to process, so it has to be left out where results are to agree."""
    folder = tmp_path_factory.mktemp("distributed")
    encoder = make_encoder(folder / "tiny", dropout=0.0)
    corpus = tiny_collection / "documents.jsonl"
    assert run("encode", "--corpus", corpus, "--encoder", encoder, "--output", folder / "e", *ENCODER_FLAGS) == 0
    assert run("index", "--embeddings", folder / "e", "--output", folder / "x.opq-m4", "--m", 4) == 0
    return folder


def flags(folder, collection, name, *more):
    words = ["--index", folder / "x.opq-m4", "--output", folder / name, "--output-encoder", folder / f"{name}-enc"]
    for kind, suffix in (("topics", "tsv"), ("qrels", "txt")):
        words += [f"--{kind}", collection / f"{kind}.train.{suffix}"]
        words += [f"--dev-{kind}", collection / f"{kind}.dev.{suffix}"]
    # 64 queries in batches of 17: the last one has 13, which two processes do not share evenly.
    words += ["--epochs", 2, "--batch-size", 17, "--num-negatives", 20, "--device", "cpu", "--dtype", "float32"]
    return [str(word) for word in [*words, "--distill-weight", 0, *more]]


def centroids(folder, name):
    index = read_faiss(folder / name / "index")
    return from_faiss(index, name)[0].centroids


# Two commands in one launch, as three processes that import torch are most of its time.
SCRIPT = """
import json, sys
from pyserini_jpq import cli
from pyserini_jpq.encode.__main__ import main as encode
from pyserini_jpq.train.__main__ import main as train

words = json.loads(sys.argv[1])
sys.exit(cli.run(encode, words["encode"]) or cli.run(train, words["train"]))
"""


@pytest.fixture(scope="module")
def launched(without_dropout, tiny_collection):
    """Encode and train in two processes; returns what they wrote to standard error."""
    (without_dropout / "script.py").write_text(SCRIPT)
    (without_dropout / "by-two").mkdir()
    encode = ["--corpus", tiny_collection / "documents.jsonl", "--encoder", without_dropout / "tiny", *ENCODER_FLAGS]
    words = {
        "encode": [*map(str, encode), "--output", str(without_dropout / "by-two" / "e")],
        "train": flags(without_dropout, tiny_collection, "two", "--checkpoint-every", 3),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(without_dropout / "script.py"), json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_two_ranks_encode_a_collection(launched, without_dropout):
    two, one = Embeddings(without_dropout / "by-two" / "e"), Embeddings(without_dropout / "e")
    assert np.allclose(two.sample(1000, 0), one.sample(1000, 0), atol=1e-5)
    assert list(two.docids()) == list(one.docids())
    assert [p.name for p in (without_dropout / "by-two").iterdir()] == ["e"]


def test_two_ranks_agree_with_one(launched, without_dropout, tiny_collection):
    assert run("train", *flags(without_dropout, tiny_collection, "one")) == 0
    assert run("train", *flags(without_dropout, tiny_collection, "parts", "--accumulate", 3)) == 0
    one = centroids(without_dropout, "one")
    moved = np.abs(one - centroids(without_dropout, "x.opq-m4")).max()
    for other in ("two", "parts"):
        assert np.abs(centroids(without_dropout, other) - one).max() < 0.02 * moved
    # What is said and written comes from the first process alone.
    assert launched.count("query encoder: ") == 1 and not list(without_dropout.glob(".*"))


def test_a_compiled_encoder_agrees(without_dropout, tiny_collection, monkeypatch):
    import torch

    try:
        check_compiler(torch.device("cpu"))
    except TrainingError as problem:
        pytest.skip(str(problem))
    compiled, compile_module = [], torch.nn.Module.compile

    def traced(module, **options):
        """Trace with torch's compiler, forwards and backwards, but leave out the C++, which takes a minute."""
        compiled.append(options)
        compile_module(module, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    assert run("train", *flags(without_dropout, tiny_collection, "plain", "--epochs", 1)) == 0 and not compiled
    assert run("train", *flags(without_dropout, tiny_collection, "compiled", "--epochs", 1, "--compile")) == 0
    plain = centroids(without_dropout, "plain")
    moved = np.abs(plain - centroids(without_dropout, "x.opq-m4")).max()
    assert np.abs(centroids(without_dropout, "compiled") - plain).max() < 0.02 * moved and len(compiled) == 1


def test_without_a_compiler_it_says_so(without_dropout, tiny_collection, monkeypatch, capsys):
    import torch

    def fails(*_, **__):
        raise RuntimeError("no compiler\nand much besides")

    monkeypatch.setattr(torch, "compile", fails)
    assert run("train", *flags(without_dropout, tiny_collection, "not-compiled", "--compile")) == 2
    assert "torch.compile does not work here (no compiler); leave the flag out" in capsys.readouterr().err
    assert not (without_dropout / "not-compiled").exists()

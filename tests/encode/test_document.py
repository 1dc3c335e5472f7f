"""Encoding into a folder: interrupted, in parts, by several at once, over what is there."""

import contextlib
import io
import json
import os
import signal

import numpy as np
import pytest
import torch

from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.encode import document
from pyserini_jpq.encode.document import Shard, encode_collection
from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings
from pyserini_jpq.errors import EmbeddingsError, JPQError, OutputError
from pyserini_jpq.files import remove
from tests.conftest import ENCODER
from tests.processes import forked, killed_at_each_step

pytestmark = pytest.mark.unit
DOCUMENTS, D = 30, 4


class Letters:
    """An encoder whose vectors are sums over the letters of a text, without a model."""

    dimension, device = D, torch.device("cpu")
    card = EncoderCard(backbone="nowhere/tiny")

    def __init__(self, scale=1.0):
        self.scale, self.batches = scale, 0

    def tokenize(self, texts, side):
        return [[ord(letter) for letter in text] for text in texts]

    def pad(self, rows):
        return (rows,)

    def __call__(self, rows):
        self.batches += 1
        return torch.tensor([[self.scale * (sum(row) + i) for i in range(D)] for row in rows])


@pytest.fixture
def encode(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "WINDOW", 10)
    lines = (json.dumps({"id": f"d{i}", "contents": "x" * (1 + i % 7)}) + "\n" for i in range(DOCUMENTS))
    (tmp_path / "c.jsonl").write_text("".join(lines))

    def encode(shard=None, encoder=None, output=tmp_path / "e", **flags):
        collection = Collection(tmp_path / "c.jsonl")
        return encode_collection(collection, encoder or Letters(), ENCODER, output, shard=shard, batch_size=4, **flags)

    return encode


def expected():
    lengths = 1 + np.arange(DOCUMENTS) % 7
    return (ord("x") * lengths[:, None] + np.arange(D)).astype(np.float32)


def check_whole(folder):
    embeddings = Embeddings(folder)
    assert np.array_equal(embeddings.sample(DOCUMENTS, 0), expected())
    assert list(embeddings.docids()) == [f"d{i}" for i in range(DOCUMENTS)]
    assert not list(folder.glob(".*")) and not list(folder.parent.glob(".*"))


def test_shards_of_other_numbers_are_refused(encode, tmp_path):
    encode(Shard(0, 2))
    for shard in (None, Shard(0, 3), Shard(2, 3)):
        with pytest.raises(OutputError, match=r"encoded in 2 parts, not .; give --shard-num 2, --overwrite"):
            encode(shard)
    with pytest.raises(OutputError, match="exists already and is complete"):
        encode(Shard(0, 2))
    with pytest.raises(EmbeddingsError, match="rows from 15 on are missing of 30"):
        Embeddings(tmp_path / "e")
    encode(Shard(1, 2))
    check_whole(tmp_path / "e")
    with pytest.raises(OutputError, match="exists already and is complete"):
        encode()
    encode(overwrite=True)
    check_whole(tmp_path / "e")


def test_shards_that_an_older_version_did_not_note(encode, tmp_path):
    encode(Shard(0, 2))
    manifest = json.loads((tmp_path / "e" / MANIFEST).read_text())
    assert manifest.pop("shards") == 2
    (tmp_path / "e" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(EmbeddingsError, match="has 5 rows, not 10: it is of other shards; give --overwrite"):
        encode()
    encode(Shard(1, 2))
    check_whole(tmp_path / "e")


def test_an_interrupted_run_of_an_older_version_or_of_another_backend(encode, tmp_path):
    encode(Shard(0, 2))
    manifest = json.loads((tmp_path / "e" / MANIFEST).read_text())
    assert (manifest.pop("backend"), manifest["compute_dtype"]) == ("torch", "float32")
    (tmp_path / "e" / MANIFEST).write_text(json.dumps(manifest))
    encode(Shard(1, 2))
    check_whole(tmp_path / "e")
    assert Embeddings(tmp_path / "e").computed == "torch float32"
    manifest |= {"backend": "onnx-int8", "compute_dtype": "int8"}
    (tmp_path / "e" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match=r"made otherwise \(backend, compute_dtype\); give --overwrite"):
        encode(Shard(1, 2))


def test_two_at_once(encode, tmp_path):
    def meets(**flags):
        """Tell what another process is told, which encodes while a part is being written."""
        said = tmp_path / "said"

        def other():
            try:
                encode(**flags)
            except JPQError as problem:
                said.write_text(str(problem))
                return 2
            return 0

        assert forked(other) == 2
        return said.read_text()

    class Meeting(Letters):
        def __call__(self, rows):
            if self.batches == 2:
                told.append(meets(shard=Shard(0, 2)))
                told.append(meets(shard=Shard(0, 2), overwrite=True, encoder=Letters(2), dtype=torch.bfloat16))
                assert forked(lambda: encode(Shard(1, 2)) and 0) == 0  # another part may
            return super().__call__(rows)

    told = []
    encode(Shard(0, 2), Meeting())
    assert told[0].startswith(f"part 0 of 2 of {tmp_path / 'e'} is being written by process {os.getpid()} (")
    assert told[1].startswith(f"{tmp_path / 'e'} is being written by process {os.getpid()} (")
    check_whole(tmp_path / "e")


def test_shards_that_start_together_begin_one_folder(encode, tmp_path):
    children = [forked(lambda i=i: encode(Shard(i, 4)) and 0, wait=False) for i in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    check_whole(tmp_path / "e")


def test_who_reads_while_it_is_encoded_again(encode, tmp_path):
    encode()
    embeddings = Embeddings(tmp_path / "e")
    blocks = embeddings.blocks(5)
    first = next(blocks)
    encode(encoder=Letters(2), dtype=torch.bfloat16, overwrite=True)
    assert np.array_equal(first, expected()[:5]) and np.array_equal(next(blocks), expected()[5:10])
    with pytest.raises(EmbeddingsError, match="was changed while it was read"):
        next(blocks)
    assert not list(tmp_path.glob(".*"))


def test_killed_at_each_step_it_goes_on(encode, tmp_path):
    kills = 0
    for _ in killed_at_each_step(encode):
        kills += 1
        if kills % 3 == 0:  # several kills in a row, too
            try:
                encode()
            except OutputError:  # it was complete, and held no more than its locks
                assert {file.suffix for file in tmp_path.rglob(".*")} == {".lock"}
                for file in tmp_path.rglob(".*"):
                    file.unlink()
            check_whole(tmp_path / "e")
            remove(tmp_path / "e")
    assert kills > 10
    check_whole(tmp_path / "e")


def test_the_bar_goes_on_from_what_is_there(encode, tmp_path, monkeypatch):
    bars = []

    class Bar(document.Progress):
        def __init__(self, **words):
            super().__init__(**words)
            bars.append(self)
            self.began = self.n

    class Killing(document.Progress):
        def update(self, n=1):
            super().update(n)
            if self.n == 14:
                os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(document, "Progress", Killing)
    assert forked(encode) == -signal.SIGKILL
    monkeypatch.setattr(document, "Progress", Bar)
    encode()
    # A file of 10, and a batch of 4 in the next.
    assert (bars[0].began, bars[0].n, bars[0].total) == (14, 30, 30)
    check_whole(tmp_path / "e")


@pytest.mark.parametrize("place", [".", "..", "/", "../x"])
def test_the_folder_that_the_command_runs_in_stays(encode, tmp_path, monkeypatch, place):
    (tmp_path / "x").mkdir()
    encode(output=tmp_path / "x" / "e")
    for file in (tmp_path / "x" / "e").iterdir():
        file.rename(tmp_path / "x" / file.name)
    (tmp_path / "x" / "e").rmdir()
    (tmp_path / "x" / "precious").write_text("x")
    monkeypatch.chdir(tmp_path / "x")
    before = sorted(tmp_path.rglob("*"))
    for flags in ({}, {"overwrite": True}):
        with pytest.raises(OutputError, match="holds the folder that the command runs in; give a folder of its own"):
            encode(output=document.Path(place), **flags)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e36, -1e20])
def test_vectors_that_faiss_cannot_square(encode, scale):
    with pytest.raises(EmbeddingsError, match=r"NaN, infinite or too large to compute with for document 'd6'"):
        encode(encoder=Letters(scale))


def test_files_that_cannot_be_that_large(encode, tmp_path):
    """As `ulimit -f` has it, and much like a full disk: one line, and more room lets it go on."""
    import resource

    from pyserini_jpq import cli

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            status = cli.run(lambda _: encode() and None, [])
        os.write(end, said.getvalue().encode())
        return status

    start, end = os.pipe()
    assert forked(limited) == 2
    said = os.read(start, 1 << 16).decode()
    assert "a file is larger than files may be here (ulimit -f) for " in said and said.count("\n") == 1
    encode()
    check_whole(tmp_path / "e")

"""Encoding and indexing in pieces, here in one process: the files of the commands, and an interrupted run goes on."""

import numpy as np
import pytest

import pyserini_jpq as jpq
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.encode import document
from pyserini_jpq.encode.source import find_encoder
from pyserini_jpq.errors import JPQError
from pyserini_jpq.index.run import encode_index
from tests.conftest import make_index, run

pytestmark = pytest.mark.integration
OPTIONS = jpq.EncodeOptions(device="cpu", dtype="float32")


class Here:
    """A cluster of this process, which is interrupted after some pieces."""

    def __init__(self, pieces=None):
        self.pieces, self.done = pieces, 0

    def call(self, function, *arguments):
        return function(*arguments)

    def map(self, worker, arguments, pieces):
        made = worker(*arguments)
        for piece in pieces:
            if self.done == self.pieces:
                raise JPQError("lost")
            self.done += 1
            yield made.do(piece)


def contents(folder, names="*"):
    return {f.relative_to(folder): f.read_bytes() for f in folder.rglob(names) if f.is_file()}


def test_pieces_are_those_of_the_commands(tiny_collection, tiny_encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(document, "WINDOW", 70)
    corpus = tiny_collection / "documents.jsonl"
    jpq.encode(corpus, tiny_encoder, tmp_path / "one", options=OPTIONS)
    for cluster, done in ((Here(2), 2), (Here(), 3)):
        try:
            jpq.encode(corpus, tiny_encoder, tmp_path / "many", options=OPTIONS, cluster=cluster)
        except JPQError as problem:
            assert str(problem) == "lost"
        assert cluster.done == done
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
    with pytest.raises(JPQError, match="exists already and is complete"):
        jpq.encode(corpus, tiny_encoder, tmp_path / "many", options=OPTIONS, cluster=Here())

    entry = find_encoder(str(tiny_encoder)).entry("0" * 64, tmp_path / "x")
    make_index(tmp_path / "x", np.random.default_rng(0).normal(size=(300, 32)).astype("f4"), range(300), encoder=entry)
    how = {"quantizer_of": tmp_path / "x", "any_encoder": True}
    for shards in (None, 2):
        options = jpq.IndexOptions(shards=shards)
        jpq.build_index(tmp_path / "one", tmp_path / f"right-{shards}", options=options, **how)
        how |= {"encode_options": OPTIONS, "options": options}
        with pytest.raises(JPQError, match="lost"):
            encode_index(corpus, tiny_encoder, tmp_path / f"x-{shards}", cluster=Here(3), **how)
        rest = Here()
        index = encode_index(corpus, tiny_encoder, tmp_path / f"x-{shards}", cluster=rest, **how)
        assert rest.done == 2 and index.manifest.documents == Collection(corpus).scan().documents == 300
        for name in ("index", "docid", "blocks", "initial_centroids.npy"):
            assert contents(tmp_path / f"x-{shards}", name) == contents(tmp_path / f"right-{shards}", name) != {}
        how = {"quantizer_of": tmp_path / "x", "any_encoder": True}
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.rglob("rows-*.partial"))
    with pytest.raises(JPQError, match="no vectors are kept on a cluster"):
        encode_index(
            corpus, tiny_encoder, tmp_path / "y", cluster=Here(), options=jpq.IndexOptions(keep_vectors="int8")
        )
    assert run("index", "--from", tmp_path / "x", "--corpus", corpus, "--output", tmp_path / "y") == 2
    assert "--corpus and --encoder go together, with --ray and --output" in capsys.readouterr().err


@pytest.mark.parametrize("more", [{}, {"shards": 2}, {"quantizer": "additive", "m": 3, "parts": 1}])
def test_a_quantizer_of_its_own_is_trained_on_the_cluster_as_here(
    tiny_collection, tiny_encoder, tmp_path, monkeypatch, more
):
    monkeypatch.setattr(document, "WINDOW", 70)
    corpus, options = (
        tiny_collection / "documents.jsonl",
        jpq.IndexOptions(**{"m": 4, "bits": 4, "sample": 150, **more}),
    )
    rows = jpq.encode(corpus, tiny_encoder, tmp_path / "e", options=OPTIONS)
    jpq.build_index(rows, tmp_path / "right", options=options)
    right = {name: contents(tmp_path / "right", name) for name in ("index", "docid", "blocks", "initial_centroids.npy")}
    how = {"options": options, "encode_options": OPTIONS}
    for pieces in (3, 4):  # it stops while it encodes, then while it assigns codes
        with pytest.raises(JPQError, match="lost"):
            encode_index(corpus, tiny_encoder, tmp_path / "x", cluster=Here(pieces), **how)
    rest = Here()
    index = encode_index(corpus, tiny_encoder, tmp_path / "x", cluster=rest, **how)
    assert rest.done == 3 and index.manifest.parts == more.get("parts")
    assert {name: contents(tmp_path / "x", name) for name in right} == right and right["index"]
    jpq.build_index(rows, tmp_path / "y", options=options, cluster=Here())
    assert {name: contents(tmp_path / "y", name) for name in right} == right
    assert not list(tmp_path.glob(".*"))


def test_codes_of_an_additive_quantizer_are_assigned_on_the_cluster(tiny_collection, tiny_encoder, tmp_path):
    corpus = tiny_collection / "documents.jsonl"
    rows = jpq.encode(corpus, tiny_encoder, tmp_path / "e", options=OPTIONS)
    jpq.build_index(rows, tmp_path / "x", options=jpq.IndexOptions(m=3, bits=4, quantizer="additive", parts=1))
    how = {"quantizer_of": tmp_path / "x"}
    jpq.build_index(rows, tmp_path / "right", **how)
    encode_index(corpus, tiny_encoder, tmp_path / "y", cluster=Here(), encode_options=OPTIONS, **how)
    assert contents(tmp_path / "y", "index") == contents(tmp_path / "right", "index")


def test_what_cannot_be_built_is_known_before_anything_is_encoded(tiny_collection, tiny_encoder, tmp_path):
    corpus, cluster = tiny_collection / "documents.jsonl", Here()
    with pytest.raises(JPQError, match="5"):
        encode_index(corpus, tiny_encoder, tmp_path / "x", cluster=cluster, options=jpq.IndexOptions(m=5))
    assert cluster.done == 0 and not list(tmp_path.iterdir())

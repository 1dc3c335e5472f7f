import json

import pytest

import pyserini_jpq as jpq
from pyserini_jpq.serve.indexes import Indexes

ODD = {
    "a/b": "slash",
    "50%": "percent",
    "c#1": "hash",
    'q"': "quote",
    "it's": "apostrophe",
    "d7%2Fx": "escaped",
    "..": "dots",
}
"""Documents whose docids are hard in URLs."""


@pytest.fixture(scope="session")
def documents(tiny_collection):
    lines = (tiny_collection / "documents.jsonl").read_text().splitlines()
    plain = {d["id"]: {"title": d["title"], "text": d["text"]} for d in map(json.loads, lines)}
    odd = {docid: {"title": "", "text": f"bado kefa {word} <script>alert(1)</script>"} for docid, word in ODD.items()}
    return plain | odd


@pytest.fixture(scope="session")
def make_notes(documents, tiny_encoder):
    """Return a function that writes an index of the documents with their texts."""

    def make(path, pooling="mean", texts=True):
        return jpq.Index.from_texts(
            documents,
            documents.values(),
            encoder=tiny_encoder,
            m=4,
            path=path,
            changes=jpq.EncoderChanges(pooling=pooling, l2_norm=True),
            encode_options=jpq.EncodeOptions(device="cpu", dtype="float32"),
            keep_texts=texts,
            keep_embeddings=False,
        )

    return make


@pytest.fixture(scope="session")
def notes(make_notes, tmp_path_factory):
    return make_notes(tmp_path_factory.mktemp("serve") / "notes")


@pytest.fixture(scope="session")
def indexes(notes, make_notes):
    """The index as `notes`, and one of another encoder, without texts, as `bare`."""
    bare = make_notes(notes.path.with_name("bare"), pooling="cls", texts=False)
    with Indexes({"notes": notes.path, "bare": bare.path}) as opened:
        yield opened

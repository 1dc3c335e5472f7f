"""What a publisher has: an index made with faiss itself, a RobertaDot query encoder, a collection with its topics."""

import io
import tarfile

import numpy as np
import pytest
import yaml

from tests.convert.authors import authors_index, train_as_authors, write_checkpoint, write_tokenizer
from tests.publisher import Published, Publisher

DOCUMENTS = 300


def tarred(members):
    """Pack contents by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """The files of an index and of its query encoder, as the authors of JPQ publish them."""
    import faiss

    folder = tmp_path_factory.mktemp("artifacts")
    vectors = np.random.default_rng(0).normal(size=(DOCUMENTS, 32)).astype(np.float32)
    index = authors_index(vectors, 4)
    train_as_authors(index, 4)
    faiss.write_index(index, str(folder / "index"))
    checkpoint = write_checkpoint(folder / "m4")
    return {
        "index": (folder / "index").read_bytes(),
        "config": (checkpoint / "config.json").read_bytes(),
        "weights": (checkpoint / "pytorch_model.bin").read_bytes(),
        "tokenizer": str(write_tokenizer(folder / "tokenizer")),
    }


@pytest.fixture
def place(tmp_path, monkeypatch, artifacts):
    """An empty folder to work in, with a publisher on loopback and the cards that name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Publisher()
    place = Place(tmp_path, server, artifacts)
    yield place
    server.close()


class Place:
    def __init__(self, folder, server, artifacts):
        self.folder, self.server, self.artifacts = folder, server, artifacts
        self.card(
            "encoders/tiny-star.yaml",
            backbone="./encoders/tiny-star",
            architecture="ance",
            tokenizer=artifacts["tokenizer"],
            tokenizer_class="RobertaTokenizer",
            tokenizer_options={"do_lower_case": True, "add_prefix_space": True},
            dimension=32,
            query={"max_length": 16},
        )
        self.publish()

    def card(self, path, **fields):
        path = self.folder / path
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(fields))

    def publish(self, encoder=None, **card):
        """Publish the index, and an encoder archive with the given members in place of the right ones."""
        files = {"m4/config.json": self.artifacts["config"], "m4/pytorch_model.bin": self.artifacts["weights"]}
        self.server.files["OPQ4,IVF1,PQ4x8.index"] = Published(self.artifacts["index"])
        self.server.files["m4.tar.gz"] = Published(tarred(encoder if encoder is not None else files))
        downloads = {
            "index": self.server.url("OPQ4%2CIVF1%2CPQ4x8.index?dl=1"),
            "query_encoder": self.server.url("m4.tar.gz?dl=1"),
        }
        values = {"collection": "msmarco-v1-passage", "encoder": "tiny-star", "m": 4, "documents": DOCUMENTS}
        self.card("indexes/msmarco-v1-passage.jpq-m96.yaml", **{**values, "downloads": downloads, **card})

"""The encoders that an index names, wherever it and they lie."""

import json
import shutil

import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import EncoderError
from pyserini_jpq.index.build import build_from
from pyserini_jpq.index.encoders import moved_entry, query_encoder_source
from pyserini_jpq.index.folder import IndexFolder
from tests.conftest import make_embeddings, make_index

pytestmark = pytest.mark.integration


def test_an_index_built_from_another_finds_its_query_encoder(built, tmp_path):
    from pyserini_jpq import JPQFaissSearcher

    source = IndexFolder(built / "x.jpq-m4")
    build_from(source, Embeddings(built / "embeddings"), tmp_path / "deeper" / "y")
    index = IndexFolder(tmp_path / "deeper" / "y", verify=True)
    assert query_encoder_source(index).folder.samefile(built / "enc" / "x.jpq-m4")
    assert index.embeddings().samefile(built / "embeddings")
    assert index.manifest.training == {**source.manifest.training, "trained_on": "x.jpq-m4"}
    hits, expected = (JPQFaissSearcher(f.path).search("bado kefa", k=20) for f in (index, source))
    assert [(h.docid, h.score) for h in hits] == [(h.docid, h.score) for h in expected]
    entry = source.manifest.document_encoder
    assert moved_entry(entry, source.path, tmp_path) == entry


def test_an_encoder_written_here_is_looked_for_by_its_name(built, tmp_path, monkeypatch):
    """Older embeddings note no folder of their encoder, and the card of one that was written here names none."""
    monkeypatch.chdir(tmp_path)
    import numpy as np

    entry = {"name": "mine", "card": {"backbone": "."}, "sha256": "0" * 64}
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    index = IndexFolder(make_index(tmp_path / "x", vectors, range(300), encoder=entry))
    with pytest.raises(EncoderError, match="is not at encoders/mine; put it back"):
        query_encoder_source(index)
    shutil.copytree(built / "enc" / "x.jpq-m4", tmp_path / "encoders" / "mine")
    assert str(query_encoder_source(index).folder) == "encoders/mine"
    manifest = json.loads((index.path / "jpq.json").read_text())
    assert manifest["query_encoder"] == entry


def test_embeddings_note_where_an_encoder_written_here_lies(built, tmp_path, monkeypatch):
    """Its own card names no place, and it need not lie under `encoders/`."""
    import pyserini_jpq as jpq

    monkeypatch.chdir(tmp_path)
    encoder = shutil.copytree(built / "enc" / "x.jpq-m4", tmp_path / "far" / "away" / "from" / "here" / "mine")
    texts = [f"text number {i}" for i in range(300)]
    index = jpq.Index.from_texts([f"d{i}" for i in range(300)], texts, encoder=encoder, m=4, path="indexes/notes")
    assert len(index.search("text number 5", k=3)) == 3
    again = jpq.Index("indexes/notes")
    assert again.search("text number 5", k=3) == index.search("text number 5", k=3)
    again.add(["more"], ["another text"])
    jpq.build_index(
        jpq.encode({"a": "b", "c": "d"}, encoder, "embeddings/others"), "indexes/others", quantizer_of="indexes/notes"
    )
    assert query_encoder_source(IndexFolder("indexes/others")).folder.samefile(encoder)


def test_documents_of_8_bits_are_mixed_with_no_others(tmp_path, caplog):
    """Embeddings note what computed them, and so does an index of them."""
    import numpy as np

    from pyserini_jpq.index.change import change_index
    from pyserini_jpq.index.encoders import document_backend

    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)

    def made(name, **how):
        folder = make_embeddings(tmp_path / name, vectors, [f"{name}{i}" for i in range(300)])
        manifest = json.loads((folder / "embeddings.json").read_text())
        (folder / "embeddings.json").write_text(json.dumps({**manifest, **how}))
        return Embeddings(folder)

    plain = IndexFolder(make_index(tmp_path / "plain", vectors, range(300)))
    eight = {"backend": "onnx-int8", "compute_dtype": "int8"}
    with pytest.raises(EncoderError, match=r"by onnx-int8 int8, .* by torch float32, .* --encoder-backend torch, or"):
        build_from(plain, made("eight", **eight), tmp_path / "x")
    assert not (tmp_path / "x").exists()
    build_from(plain, Embeddings(tmp_path / "eight"), tmp_path / "x", any_encoder=True)
    index = IndexFolder(tmp_path / "x")
    assert index.manifest.document_encoder["computed"] == "onnx-int8 int8" and document_backend(index) == "onnx-int8"
    assert "computed" not in index.manifest.query_encoder
    for how in ({}, {"compute_dtype": "bfloat16"}):
        with pytest.raises(EncoderError, match="--encoder-backend onnx-int8, or give --any-encoder"):
            change_index(index, made(f"other{len(how)}", **how))
    assert change_index(index, made("more", **eight)).documents == 600
    assert caplog.text == ""
    assert change_index(plain, made("half", compute_dtype="bfloat16")).documents == 600
    assert "torch bfloat16, the documents of" in caplog.text and "differ by rounding" in caplog.text

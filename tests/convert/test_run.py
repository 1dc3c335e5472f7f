"""The function under the command: what it asks for, and what is left of it when it is killed."""

import faiss
import pytest

from pyserini_jpq.convert import run
from pyserini_jpq.convert.run import ConvertOptions, convert
from pyserini_jpq.errors import ConversionError, EncoderError, OutputError
from pyserini_jpq.index.folder import IndexFolder
from tests.convert.authors import write_checkpoint, write_tokenizer
from tests.convert.test_indexes import plain_pq

pytestmark = pytest.mark.unit


@pytest.fixture
def imported(tmp_path):
    faiss.write_index(plain_pq(), str(tmp_path / "pq"))
    assert convert(tmp_path / "pq", tmp_path / "x", source="faiss") == tmp_path / "x"
    return tmp_path / "x"


def test_there_and_back(imported, tmp_path, caplog):
    options = ConvertOptions(docid=tmp_path / "docid", pid2offset=tmp_path / "m.tsv")
    assert convert(str(imported), str(tmp_path / "out"), target="jpq", options=options) == tmp_path / "out"
    back = ConvertOptions(docid=tmp_path / "docid", docid_prefix="D", blocks=False)
    convert(tmp_path / "out", tmp_path / "y", source="jpq", options=back)
    assert "names no encoder" in caplog.text
    one, other = IndexFolder(imported), IndexFolder(tmp_path / "y")
    assert other.docids() == [f"D{docid}" for docid in one.docids()] and not other.blocks
    for flags in ({}, {"source": "jpq", "target": "jpq"}, {"source": "csv"}):
        with pytest.raises(ConversionError, match="give either source or target, one of jpq, faiss"):
            convert(imported, tmp_path / "z", **flags)


@pytest.mark.parametrize("killed", ["export_faiss", "write_docid_file", "write_pid2offset"])
def test_an_export_that_was_killed_goes_on(imported, tmp_path, monkeypatch, killed):
    names = ("out", "docid", "m.pickle")
    options = ConvertOptions(docid=tmp_path / "docid", pid2offset=tmp_path / "m.pickle")
    module = "exporting" if killed == "export_faiss" else "docids"
    with monkeypatch.context() as patch:
        patch.setattr(f"pyserini_jpq.convert.{module}.{killed}", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            convert(imported, tmp_path / "out", target="faiss", options=options)
    assert not all((tmp_path / name).exists() for name in names)
    convert(imported, tmp_path / "out", target="faiss", options=options)
    assert all((tmp_path / name).stat().st_size for name in names)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    # Once done, it is an output like others.
    with pytest.raises(OutputError, match="out exists already"):
        convert(imported, tmp_path / "out", target="faiss", options=options)
    (tmp_path / "out").unlink()
    with pytest.raises(OutputError, match="docid exists already"):
        convert(imported, tmp_path / "out", target="faiss", options=options)
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_never_taken_for_those_of_a_killed_export(imported, tmp_path, monkeypatch):
    (tmp_path / "docid").write_text("mine\n")
    options = ConvertOptions(docid=tmp_path / "docid", pid2offset=tmp_path / "m.tsv")
    for _ in range(2):
        with pytest.raises(OutputError, match="docid exists already"):
            convert(imported, tmp_path / "out", target="faiss", options=options)
    other = ConvertOptions(docid=tmp_path / "other", pid2offset=tmp_path / "m.tsv")
    monkeypatch.setattr(
        "pyserini_jpq.convert.docids.write_docid_file", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        convert(imported, tmp_path / "out", target="faiss", options=other)
    with pytest.raises(OutputError, match="exists already"):
        convert(imported, tmp_path / "out", target="faiss", options=options)
    assert (tmp_path / "docid").read_text() == "mine\n"


def test_an_import_that_was_killed_after_its_encoder_goes_on(imported, tmp_path, monkeypatch):
    write_tokenizer(write_checkpoint(tmp_path / "m4"))
    convert(imported, tmp_path / "authors", target="jpq")
    options = ConvertOptions(encoder=str(tmp_path / "m4"), output_encoder=tmp_path / "encoder")
    with monkeypatch.context() as patch:
        patch.setattr("pyserini_jpq.convert.importing.import_jpq", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path / "authors", tmp_path / "y", source="jpq", options=options)
    assert (tmp_path / "encoder").is_dir() and not (tmp_path / "y").exists()
    convert(tmp_path / "authors", tmp_path / "y", source="jpq", options=options)
    assert IndexFolder(tmp_path / "y").manifest.query_encoder["folder"] == "../encoder"
    assert not list(tmp_path.glob(".*"))


def test_a_mistake_leaves_nothing(imported, tmp_path):
    options = ConvertOptions(docid=tmp_path / "docid", encoder=str(tmp_path / "encoder"))
    with pytest.raises(EncoderError, match="names no query encoder"):
        convert(imported, tmp_path / "out", target="jpq", options=options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pq", "x"]
    assert run.outputs_of(tmp_path / "out", options) == [tmp_path / "out", tmp_path / "docid", tmp_path / "encoder"]

"""An encoder of ours in Pyserini's own tools: its card decides, or it is refused; all others are Pyserini's alone."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pyserini_jpq
from pyserini_jpq.cards import ENCODER_FOLDER_CARD
from pyserini_jpq.compat import encoders
from pyserini_jpq.errors import EncoderError
from tests.conftest import run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an encoder of ours, one as transformers writes it, and one of ours under `encoders/`."""
    for folder in ("ours", "plain", "encoders/named"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("ours", "encoders/named"):
        (tmp_path / folder / ENCODER_FOLDER_CARD).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def theirs(here: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Classes as in `pyserini.encode`, and what our encoder is made with."""

    class QueryEncoder:
        def __init__(self, encoded_query_dir=None):
            self.has_model = False

    class DocumentEncoder:
        pass

    class AnceQueryEncoder(QueryEncoder):
        def __init__(self, encoder_dir=None, tokenizer_name=None, encoded_query_dir=None, device="cpu", **kwargs):
            super().__init__(encoded_query_dir)
            self.encoder_dir = encoder_dir

    class SpladeQueryEncoder(QueryEncoder):
        def __init__(self, model_name_or_path, tokenizer_name=None, device="cpu"):
            self.encoder_dir = model_name_or_path

    class AutoDocumentEncoder(DocumentEncoder):
        def __init__(self, model_name, tokenizer_name=None, device="cuda:0"):
            self.encoder_dir = model_name

    classes = [QueryEncoder, DocumentEncoder, AnceQueryEncoder, SpladeQueryEncoder, AutoDocumentEncoder]
    for class_ in classes:
        class_.__module__ = "pyserini.encode"
    module = SimpleNamespace(**{class_.__name__: class_ for class_ in classes})
    encoders.adopt(module)  # type: ignore[arg-type]
    monkeypatch.setattr(pyserini_jpq, "JPQQueryEncoder", lambda *args, **kwargs: (args, kwargs), raising=False)
    return module


@pytest.mark.unit
def test_what_is_ours(here):
    for encoder in ("ours", Path("ours"), str(here / "ours"), "named", "encoders/named", "all-minilm-l6-v2"):
        assert encoders.is_ours(encoder), encoder
    (here / "ance").mkdir()  # a folder goes before a card of its name
    for encoder in (None, "", 7, "plain", "ance", "sentence-transformers/all-MiniLM-L6-v2", "castorini/ours"):
        assert not encoders.is_ours(encoder), encoder


@pytest.mark.unit
def test_any_class_makes_our_encoder_of_ours(theirs):
    assert theirs.AnceQueryEncoder("ours") == (("ours",), {"device": "cpu", "prefix": None})
    flags = {"tokenizer_name": None, "device": "cuda:1", "prefix": "query:", "pooling": "cls", "l2_norm": False}
    made = theirs.AnceQueryEncoder(encoder_dir="encoders/named", **flags)
    assert made == (("encoders/named",), {"device": "cuda:1", "prefix": "query: "})


@pytest.mark.unit
def test_what_is_not_ours_stays_as_it_is(theirs):
    for encoder in (None, "plain", "castorini/ance-msmarco-passage"):
        made = theirs.AnceQueryEncoder(encoder, device="cpu")
        assert type(made) is theirs.AnceQueryEncoder and made.encoder_dir == encoder
    assert theirs.SpladeQueryEncoder("plain").encoder_dir == theirs.AutoDocumentEncoder("plain").encoder_dir == "plain"
    assert theirs.QueryEncoder("ours").has_model is False  # a folder of encoded queries
    with pytest.raises(TypeError, match="five"):
        theirs.AnceQueryEncoder(five=5, **{"encoder_dir": "plain"}) and theirs.SpladeQueryEncoder("plain", five=5)

    class Mine(theirs.AnceQueryEncoder):  # somebody's own, who decides what it does
        pass

    assert type(Mine("ours")) is Mine


@pytest.mark.unit
def test_what_our_encoder_cannot_be_is_refused(theirs):
    with pytest.raises(EncoderError, match="ours encodes to dense vectors, which SpladeQueryEncoder does not give"):
        theirs.SpladeQueryEncoder("ours")
    with pytest.raises(EncoderError, match=r"encode documents by python -m pyserini_jpq\.encode"):
        theirs.AutoDocumentEncoder("ours", device="cpu")


def read_run(path: Path) -> dict[str, list[tuple[str, float]]]:
    lines = [line.split() for line in path.read_text().splitlines()]
    return {qid: [(words[2], float(words[4])) for words in lines if words[0] == qid] for qid in {w[0] for w in lines}}


def same_run(path: Path, expected: Path) -> None:
    found, wanted = read_run(path), read_run(expected)
    assert found.keys() == wanted.keys() and len(found) == 16
    for qid, hits in wanted.items():
        scores = dict(found[qid])
        assert scores.keys() == {docid for docid, _ in hits}
        for docid, score in hits:
            assert scores[docid] == pytest.approx(score, abs=1e-5)


@pytest.fixture(scope="module")
def our_run(built, tiny_collection, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("ours") / "run.txt"
    words = ["--index", built / "x.jpq-m4", "--topics", tiny_collection / "topics.dev.tsv", "--output", output]
    assert run("search", *words, "--hits", 300) == 0
    return output


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("x.jpq-m4", []),
        ("balanced-sentence", []),  # "ance" and "sentence" would name classes of Pyserini
        ("x.jpq-m4", ["--encoder-class", "auto", "--pooling", "mean", "--l2-norm"]),
        ("x.jpq-m4", ["--encoder-class", "tct_colbert", "--batch-size", "4"]),
    ],
)
def test_pyserinis_own_search_ranks_as_ours_does(built, tiny_collection, our_run, tmp_path, monkeypatch, name, flags):
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / name).symlink_to(built / "enc" / "x.jpq-m4")
    monkeypatch.chdir(tmp_path)
    words = ["--index", built / "x.jpq-m4", "--topics", tiny_collection / "topics.dev.tsv", "--hits", 300, *flags]
    words += ["--encoder", f"encoders/{name}", "--output", "run.txt"]
    monkeypatch.setattr(sys, "argv", ["pyserini.search.faiss", *map(str, words)])
    runpy.run_module("pyserini.search.faiss", run_name="__main__", alter_sys=True)
    same_run(tmp_path / "run.txt", our_run)


@pytest.mark.integration
def test_pyserinis_classes_give_our_vectors(built, tmp_path, monkeypatch):
    from pyserini.encode import AutoDocumentEncoder, AutoQueryEncoder
    from pyserini.search.faiss import FaissSearcher

    encoder = built / "enc" / "x.jpq-m4"
    ours = pyserini_jpq.JPQQueryEncoder(encoder)
    query = "bado kefa ligi"
    searcher = FaissSearcher(str(built / "x.jpq-m4"), str(encoder))
    for made in (AutoQueryEncoder(str(encoder)), AutoQueryEncoder(encoder_dir=str(encoder)), searcher.query_encoder):
        np.testing.assert_allclose(made.encode(query), ours.encode(query), atol=1e-6)
        np.testing.assert_allclose(made.encode(query, max_length=256), ours.encode(query), atol=1e-6)
    with pytest.raises(EncoderError, match="encode documents by"):
        AutoDocumentEncoder(str(encoder), device="cpu")


@pytest.mark.integration
def test_pyserinis_class_is_its_own_for_a_folder_without_our_card(tiny_encoder):
    from pyserini.encode import AutoQueryEncoder

    theirs = AutoQueryEncoder(str(tiny_encoder), device="cpu")
    assert type(theirs) is AutoQueryEncoder and theirs.pooling == "cls"
    assert theirs.encode("bado kefa").shape == (32,)


@pytest.mark.integration
def test_pyserinis_server_ranks_as_ours_does(built, tiny_collection, our_run):
    utils = pytest.importorskip("pyserini.server.utils", reason="Pyserini 1.6 serves prebuilt indexes only")
    config = utils.IndexConfig("x", str(built / "x.jpq-m4"), encoder=str(built / "enc" / "x.jpq-m4"))
    searcher = utils.create_searcher("faiss", config, local_path=config.path)  # as REST and MCP make it
    for line in (tiny_collection / "topics.dev.tsv").read_text().splitlines():
        qid, query = line.split("\t")
        found = {hit.docid: float(hit.score) for hit in searcher.search(query, 300)}
        assert found == pytest.approx(dict(read_run(our_run)[qid]), abs=1e-5)

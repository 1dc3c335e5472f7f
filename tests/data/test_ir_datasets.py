"""Collections, topics and qrels by their names in ir_datasets, of a dataset that is registered here."""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import pyserini_jpq as jpq
from pyserini_jpq.data.collection import Collection, Document
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.source import open_collection
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.errors import CollectionError, InstallationError, TopicsError
from tests.conftest import run

NAME = "ir_datasets:jpq-test"
pytestmark = pytest.mark.unit


class Page(NamedTuple):
    doc_id: str
    url: str
    title: str
    body: str


@pytest.fixture(scope="module")
def datasets():
    return pytest.importorskip("ir_datasets", reason="ir_datasets is not installed")


@pytest.fixture(scope="module", autouse=True)
def registered(datasets, tiny_collection, tmp_path_factory) -> Iterator[None]:
    """Register the tiny collection as a dataset that is read from files of this machine."""
    tsv = tmp_path_factory.mktemp("dataset") / "documents.tsv"
    documents = Collection(tiny_collection / "documents.jsonl")
    tsv.write_text("".join(f"{d.docid}\t{d.title} {d.text}\n" for d in documents))
    files = tsv, tiny_collection / "topics.train.tsv", tiny_collection / "qrels.train.txt"
    registry = datasets.registry._registered
    datasets.registry.register("jpq-test", datasets.create_dataset(*map(str, files)))
    datasets.registry.register("jpq-test/docs", datasets.create_dataset(docs_tsv=str(tsv)))
    datasets.registry.register("jpq-test/gone", datasets.create_dataset(queries_tsv=str(tsv.with_name("gone.tsv"))))
    yield
    for name in [name for name in registry if name.startswith("jpq-test")]:
        del registry[name]


def test_topics_qrels_and_documents_are_those_of_the_files(tiny_collection):
    assert read_topics(NAME) == read_topics(str(tiny_collection / "topics.train.tsv"))
    assert read_qrels(NAME) == read_qrels(str(tiny_collection / "qrels.train.txt"))
    ours, theirs = open_collection(NAME), Collection(tiny_collection / "documents.jsonl")
    assert [(d.docid, d.text) for d in ours] == [(d.docid, f"{d.title} {d.text}") for d in theirs]
    assert ours.scan().documents == 300 and str(ours.path) == NAME


def test_the_fields_of_a_document(datasets, monkeypatch):
    class Docs(datasets.formats.BaseDocs):
        def docs_iter(self):
            yield Page("d1", "https://example.org", "Title", " text ")
            yield Page("d2", "", "", "")

        def docs_cls(self):
            return Page

    monkeypatch.setitem(datasets.registry._registered, "jpq-test/pages", datasets.Dataset(Docs()))
    name = f"{NAME}/pages"
    assert list(open_collection(name, skip_empty=True)) == [Document("d1", "Title", "text", "https://example.org")]
    with pytest.raises(CollectionError, match="pages, number 2 of its docs: document 'd2' has no text"):
        list(open_collection(name))


def test_what_is_not_there_is_one_line(monkeypatch):
    with pytest.raises(TopicsError, match="ir_datasets knows no dataset 'jpq-none'"):
        read_topics("ir_datasets:jpq-none")
    with pytest.raises(TopicsError, match="jpq-test/docs has no qrels"):
        read_qrels(f"{NAME}/docs")
    with pytest.raises(CollectionError, match="jpq-test/gone has no docs"):
        open_collection(f"{NAME}/gone")
    with pytest.raises(TopicsError, match="jpq-test/gone: its queries cannot be read"):
        read_topics(f"{NAME}/gone")
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(InstallationError, match=r"needs ir_datasets: .*\[ir_datasets\]"):
        read_topics(NAME)


@pytest.mark.integration
def test_the_commands_take_the_names(built, tiny_encoder, tmp_path):
    flags = "--pooling", "mean", "--l2-norm", "--device", "cpu", "--dtype", "float32"
    embeddings, index = tmp_path / "embeddings", tmp_path / "index"
    assert run("encode", "--corpus", NAME, "--encoder", tiny_encoder, "--output", embeddings, *flags) == 0
    assert run("index", "--embeddings", embeddings, "--m", 4, "--texts", NAME, "--output", index) == 0
    assert len(jpq.Index(index).texts) == 300
    hits = tmp_path / "run.txt"
    assert run("search", "--index", index, "--topics", NAME, "--output", hits, "--device", "cpu") == 0
    assert run("evaluate", "--qrels", NAME, hits) == 0
    assert run("search", "--index", index, "--topics", f"{NAME}/docs", "--output", tmp_path / "other.txt") == 2

"""Collections by card: fetched, unpacked, found again; their topics and qrels by name."""

import gzip
import io
import os
import zipfile

import pytest
import yaml

from pyserini_jpq.data.collection import Collection
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.download.collection import find_corpus
from pyserini_jpq.errors import CollectionError, DownloadError
from tests.publisher import Published

pytestmark = pytest.mark.unit

BEIR = {
    "pets/corpus.jsonl": '{"_id": "d1", "title": "Cats", "text": "purr"}\n{"_id": "d2", "title": "", "text": "bark"}\n',
    "pets/queries.jsonl": '{"_id": "q1", "text": "what purrs"}\n{"_id": "q2", "text": "what barks"}\n',
    "pets/qrels/train.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
}


@pytest.fixture
def card(tmp_path, monkeypatch, publisher):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "collections").mkdir()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in BEIR.items():
            archive.writestr(name, text)
    publisher.files["pets.zip"] = Published(buffer.getvalue())

    def write(name="beir-v9-pets", **changes):
        fields = {
            "corpus": "corpus.jsonl",
            "downloads": {"archive": publisher.url("pets.zip")},
            "within": "pets",
            "topics": {f"{name}-train": "queries.jsonl"},
            "qrels": {f"{name}-train": "qrels/train.tsv"},
        }
        (tmp_path / "collections" / f"{name}.yaml").write_text(yaml.safe_dump({**fields, **changes}))

    write()
    return write


def test_a_collection_by_name(card, publisher):
    corpus = find_corpus("beir-v9-pets")
    assert [(d.docid, d.title) for d in Collection(corpus)] == [("d1", "Cats"), ("d2", "")]
    assert find_corpus("beir-v9-pets") == corpus and len(publisher.requests) == 1
    assert read_topics("beir-v9-pets-train") == {"q1": "what purrs", "q2": "what barks"}
    assert read_qrels("beir-v9-pets-train") == {"q1": {"d1": 1}}
    assert sorted(os.listdir("collections")) == ["beir-v9-pets", "beir-v9-pets.yaml"]


def test_topics_alone_fetch_the_collection(card, publisher):
    assert len(read_topics("beir-v9-pets-train")) == 2 and len(publisher.requests) == 1


def test_collections_that_share_an_archive_fetch_it_once(card, publisher):
    card("pets-a", shared="pets")
    card("pets-b", shared="pets")
    assert find_corpus("pets-a").is_file() and find_corpus("pets-b").is_file()
    assert len(publisher.requests) == 1


def test_files_that_are_no_archives(card, publisher, tmp_path):
    lines = b"D1\thttp://u \t\tBody \nD2\thttp://v\t T\t\n"
    publisher.files["msmarco-docs.tsv.gz"] = Published(gzip.compress(lines))
    card("docs", corpus="msmarco-docs.tsv.gz", downloads={"documents": publisher.url("msmarco-docs.tsv.gz")})
    documents = list(Collection(find_corpus("docs")))
    assert [(d.docid, d.url, d.title, d.text) for d in documents] == [
        ("D1", "http://u", "", "Body"),
        ("D2", "http://v", " T", ""),
    ]
    assert Collection(find_corpus("docs")).scan().documents == 2


def test_paths_stay_paths(card, tmp_path):
    (tmp_path / "x.tsv").write_text("1\ta\n")
    assert str(find_corpus("x.tsv")) == "x.tsv" and str(find_corpus("no/such")) == "no/such"
    assert str(find_corpus("nothing-of-that-name")) == "nothing-of-that-name"


def test_what_cannot_be_had_is_one_line(card, publisher):
    card("secret", downloads={}, by_hand="ask for it")
    with pytest.raises(CollectionError, match="secret is not published for download; ask for it, and put it into"):
        find_corpus("secret")
    card("gone", downloads={"archive": publisher.url("gone.zip")})
    with pytest.raises(DownloadError, match=r"put it at downloads/gone/gone\.zip"):
        find_corpus("gone")
    card("other", corpus="documents.jsonl")
    with pytest.raises(CollectionError, match=r"holds no documents\.jsonl"):
        find_corpus("other")
    card("wrong", checksums={"archive": "md5:" + "0" * 32})
    with pytest.raises(DownloadError, match="its card says"):
        find_corpus("wrong")
    assert not any(os.path.isdir(f"collections/{name}") for name in ("secret", "gone", "wrong"))


def test_four_columns_are_checked(tmp_path):
    (tmp_path / "msmarco-docs.tsv").write_text("D1\tu\tt\n")
    with pytest.raises(CollectionError, match=r"line 1 has 3 columns; expected `docid<TAB>url<TAB>title<TAB>body`"):
        list(Collection(tmp_path))

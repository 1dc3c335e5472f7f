"""Texts beside an index: what was written is read, by threads and by other processes; what is damaged is one line."""

import pickle
import sqlite3
import threading

import pytest

from pyserini_jpq.data.collection import Document
from pyserini_jpq.errors import CollectionError, IndexFolderError
from pyserini_jpq.index import texts as module
from pyserini_jpq.index.manifest import is_text_file, text_files
from pyserini_jpq.index.texts import Texts, documents_for, write_texts

pytestmark = pytest.mark.unit

OLD = [Document(f"d{i}", f"title {i}", f"text é {i}\n\u2028", "u" * (i % 2)) for i in range(50)]
NEW = [Document("f", "", "newer"), Document("e", "E", "added")]


@pytest.fixture
def texts(tmp_path):
    assert write_texts(tmp_path / "texts", OLD) == 50 and write_texts(tmp_path / "texts.1", NEW) == 2
    return Texts([tmp_path / "texts", tmp_path / "texts.1"])


def test_all_files_are_one_mapping(texts):
    expected = {d.docid: d for d in [*OLD, *NEW]}
    assert dict(texts) == expected and len(texts) == 52
    assert texts.get("nobody") is None and "d1" in texts
    with pytest.raises(KeyError):
        texts["nobody"]
    many = [f"d{i}" for i in range(2000)] + ["d7", "nobody"]  # more than one statement takes
    assert texts.several(many) == {docid: expected[docid] for docid in many if docid in expected}


def test_threads_and_other_processes_read_the_same(texts):
    found = []
    workers = [threading.Thread(target=lambda: found.append(dict(texts))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [dict(texts)] * 8
    assert dict(pickle.loads(pickle.dumps(texts))) == dict(texts)


def test_files_that_are_replaced_are_read_as_they_were(texts, tmp_path):
    (tmp_path / "texts").unlink()
    write_texts(tmp_path / "texts", NEW)
    assert texts["d5"] == OLD[5]


def test_names_are_ordered_by_number():
    names = ["texts.10", "docid", "texts.2", "texts", "texts.x", "texts.02", "textsy"]
    assert text_files(names) == ["texts", "texts.2", "texts.10"]
    assert not is_text_file("texts.")


def test_a_foreign_or_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "texts"
    write_texts(path, OLD)
    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    with pytest.raises(IndexFolderError, match="--texts CORPUS` makes them again"):
        dict(Texts([path]))
    path.write_bytes(b"\xff" * 4096)
    with pytest.raises(IndexFolderError, match="cannot be read"):
        Texts([path])
    path.unlink()
    with sqlite3.connect(path) as connection:  # a view in place of the table could run what it likes
        connection.execute(f"PRAGMA application_id = {0x4A505154}")
        connection.execute("CREATE VIEW texts AS SELECT 'd1' AS docid, '' AS title, 'x' AS text, '' AS url")
    with pytest.raises(IndexFolderError, match="holds no texts"):
        Texts([path])
    path.unlink()
    write_texts(path, OLD)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE texts SET text = x'00ff'")
    with pytest.raises(IndexFolderError, match="holds a value that is no text"):
        dict(Texts([path]))


def test_documents_are_found_by_all_bits_of_their_hashes(tiny_collection, monkeypatch):
    monkeypatch.setattr(module, "_hash64", lambda docid: 2**62 + int(docid[1:]))  # float64 has no such numbers
    wanted = [f"d{i}" for i in range(250, 20, -1)]
    found = list(documents_for(wanted, tiny_collection / "documents.jsonl"))
    assert [document.docid for document in found] == wanted[::-1]
    with pytest.raises(CollectionError, match="lacks 1 documents of the index, such as 'd300'"):
        list(documents_for(["d3", "d300"], tiny_collection / "documents.jsonl"))

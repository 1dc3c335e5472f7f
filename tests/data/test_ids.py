import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.data.ids import check_docids, check_id, words_of
from pyserini_jpq.errors import CollectionError, EmbeddingsError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("docid", ["7", "D1#3", "é", "日本", 'a"b', "NA", "a\u200cb"])
def test_ids_that_can_be(docid):
    check_id(docid, "x", CollectionError)
    check_docids(lambda: [docid, "other"], "x", CollectionError)


@pytest.mark.parametrize(
    ("docid", "part"),
    [
        ("", "an empty docid"),
        ("a b", "whitespace in its docid 'a b'"),
        ("a\xa0b", "whitespace"),
        ("a\rb", "whitespace"),
        ("a\0b", "a control character in its docid 'a\\x00b'"),
        ("a\x7f", "control character"),
        ("\x9f", "control character"),
        ("\ufeffMED-10", "control character"),
        ("\ud800", "control character"),
    ],
)
def test_ids_that_cannot_be(docid, part):
    with pytest.raises(CollectionError) as problem:
        check_id(docid, "c.jsonl line 3", CollectionError)
    assert str(problem.value).startswith("c.jsonl line 3 has ") and part in str(problem.value)
    with pytest.raises(EmbeddingsError) as problem:
        check_docids(lambda: ["good", docid], "e/docid", EmbeddingsError)
    assert str(problem.value).startswith(f"e/docid has the docid {docid!r}; ")


@pytest.mark.property
@given(st.lists(st.text("abc", min_size=1, max_size=2), max_size=8))
def test_docids_that_come_twice(docids):
    if len(set(docids)) == len(docids):
        check_docids(lambda: iter(docids), "x", EmbeddingsError)
        return
    with pytest.raises(EmbeddingsError) as problem:
        check_docids(lambda: iter(docids), "x", EmbeddingsError)
    first = next(docid for i, docid in enumerate(docids) if docid in docids[:i])
    assert f"x has the docid {first!r} twice" in str(problem.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_words_of_a_file(tmp_path, pack):
    (tmp_path / "docid").write_bytes(pack("\ufeffMED-10\r\né\n\nlast".encode()))
    assert list(words_of(tmp_path / "docid", CollectionError)) == ["MED-10", "é", "", "last"]
    (tmp_path / "docid").write_bytes(pack(b"one\n\xe4\n"))
    with pytest.raises(CollectionError, match="line 2 is not UTF-8"):
        list(words_of(tmp_path / "docid", CollectionError))
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CollectionError, match="cannot be read as lines of text"):
            list(words_of(path, CollectionError))

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.data.collection import Collection, Document, check_template
from pyserini_jpq.errors import CollectionError, EncoderError

pytestmark = pytest.mark.unit


def write(folder, *lines, name="c.jsonl"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_reads_every_format(tmp_path):
    expected = [Document("1", "", "one two"), Document("2", "Ti", "text")]
    lines = ['{"id": 1, "contents": " one two "}', "", '{"_id": "2", "title": "Ti", "text": "text"}']
    assert list(Collection(write(tmp_path, *lines))) == expected
    packed = tmp_path / "z.jsonl.gz"
    packed.write_bytes(gzip.compress("\r\n".join(lines).encode("utf-8-sig")))
    assert list(Collection(packed)) == expected
    assert list(Collection(write(tmp_path, "7\tseven\ttabs", name="c.tsv"))) == [Document("7", "", "seven\ttabs")]
    (tmp_path / "beir").mkdir()
    write(tmp_path / "beir", *lines, name="corpus.jsonl")
    write(tmp_path / "beir", '{"_id": "q", "text": "a query"}', name="queries.jsonl")
    assert list(Collection(tmp_path / "beir")) == expected


def test_hidden_files_are_left_aside(tmp_path):
    write(tmp_path, '{"id": "1", "text": "x"}')
    for name in ("._c.jsonl", ".ipynb_checkpoints/c.jsonl", "deeper/.hidden/c.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert [d.docid for d in Collection(tmp_path)] == ["1"]
    assert [d.docid for d in Collection(write(tmp_path, '{"id": "2", "text": "x"}', name=".named.jsonl"))] == ["2"]
    (tmp_path / ".folder").mkdir()  # whoever names a hidden folder means it
    assert [d.docid for d in Collection(write(tmp_path / ".folder", '{"id": "3", "text": "x"}').parent)] == ["3"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"id": "1", "text": null, "contents": "x"}', "x"),
        ('{"id": "1", "text": "", "contents": "x"}', "x"),
        ('{"id": "1", "text": "y", "contents": "x"}', "y"),
        ('{"id": "1", "contents": null, "text": "y"}', "y"),
    ],
)
def test_the_text_is_where_text_is(tmp_path, line, text):
    assert [d.text for d in Collection(write(tmp_path, line))] == [text]


@pytest.mark.parametrize(
    ("name", "header", "line"),
    [
        ("c.tsv", "docid\ttext", "1\tx"),
        ("C.TSV", "id\tcontents", "1\tx"),
        ("c.tsv", "pid\tpassage", "1\tx"),
        ("msmarco-docs.tsv", "docid\turl\ttitle\tbody", "1\t\t\tx"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_line_is_no_document(tmp_path, name, header, line, pack):
    (tmp_path / (name + ".GZ" * (pack is gzip.compress))).write_bytes(pack(f"\ufeff{header}\n{line}\n".encode()))
    assert list(Collection(tmp_path)) == [Document("1", "", "x")]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("no json", "line 2 is no JSON: Expecting value at character 1"),
        ('{"id": "2", "text": ' + "[" * 200_000, "line 2 is no JSON"),
        ('{"id": "2", "text": "half \\ud83d of a pair"}', "line 2 holds half a surrogate pair"),
        ('{"id": "\\udc00", "text": "x"}', "line 2 holds half a surrogate pair"),
        ("[1]", "line 2 is no JSON object"),
        ('{"text": "x"}', "line 2 has no docid"),
        ('{"id": "a b", "text": "x"}', "whitespace in its docid 'a b'"),
        ('{"id": "a\\nb", "text": "x"}', "whitespace in its docid"),
        ('{"id": "", "text": "x"}', "empty docid"),
        ('{"id": "a\\u0000b", "text": "x"}', "a control character in its docid 'a\\x00b'"),
        ('{"id": "9", "text": " "}', "document '9' has no text"),
        ('{"id": "9", "text": 3}', "field 'text' is no text"),
        ('{"id": "9"}', "neither `contents` nor `text`"),
        ('{"id": "1", "text": "again"}', "docid '1' was used before"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, part):
    with pytest.raises(CollectionError, match="line") as problem:
        Collection(write(tmp_path, '{"id": "1", "text": "x"}', line)).scan()
    assert part in str(problem.value) and "\n" not in str(problem.value)


def test_nothing_to_read(tmp_path):
    with pytest.raises(CollectionError, match="does not exist"):
        Collection(tmp_path / "absent")
    with pytest.raises(CollectionError, match=r"holds no \.jsonl"):
        Collection(tmp_path)
    with pytest.raises(CollectionError, match="holds no document"):
        Collection(write(tmp_path, "")).scan()
    (tmp_path / "bad.jsonl").write_bytes(b'{"id": "1", "text": "x"}\n{"id": "\xff"}\n')
    with pytest.raises(CollectionError, match=r"line 2 is not UTF-8.* convert"):
        Collection(tmp_path / "bad.jsonl").scan()
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"id": "1", "text": "x"}\n' * 99)[:-9])
    with pytest.raises(CollectionError, match="no whole gzip file"):
        Collection(tmp_path / "cut.jsonl.gz").scan()
    packed = gzip.compress(b'{"id": "1", "text": "x"}\n' * 9999)
    (tmp_path / "broken.jsonl.gz").write_bytes(packed[:40] + b"\xff\xff\xff" + packed[43:])
    with pytest.raises(CollectionError, match="no whole gzip file"):
        Collection(tmp_path / "broken.jsonl.gz").scan()
    with pytest.raises(CollectionError, match="has no tab"):
        Collection(write(tmp_path, "alone", name="c.tsv")).scan()


def test_empty_documents_can_be_left_out(tmp_path):
    collection = Collection(write(tmp_path, '{"id": "1", "text": ""}', '{"id": "2", "text": "x"}'), skip_empty=True)
    summary = collection.scan()
    assert (summary.documents, summary.skipped) == (1, 1)
    assert [d.docid for d in collection] == ["2"]


@pytest.mark.parametrize(
    ("template", "title", "text", "expected"),
    [
        ("{title} {text}", "T", "x", "T x"),
        ("{title} {text}", "", "x", "x"),
        ("{title}</s>{text}", "", "x", "x"),
        ("{title}</s>{text}", "T", "", "T"),
        ("a: {title}, {text}!", "", "x", "a: x!"),
    ],
)
def test_templates_drop_empty_fields(template, title, text, expected):
    assert Document("1", title, text).render(template) == expected


@pytest.mark.parametrize("template", ["", "no field", "{titel} {text}", "{title", "{} {text}", "{docid}", "{text} }"])
def test_templates_that_cannot_be(template):
    with pytest.raises(EncoderError, match="cannot be used"):
        check_template(template)
    check_template("{title}. {text}")


@pytest.mark.property
@given(st.lists(st.text(min_size=1).filter(lambda t: t.strip()), min_size=1, max_size=5))
def test_any_text_survives_json(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "c.jsonl"
    lines = [json.dumps({"id": str(i), "text": t}, ensure_ascii=True) for i, t in enumerate(texts)]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert [d.text for d in Collection(path)] == [t.strip() for t in texts]

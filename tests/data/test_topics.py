"""Topics, qrels and runs: what is read, and what is refused with which line."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.data.source import looks_like_path
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.errors import RunError, TopicsError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Whitespace to Python, not to trec_eval: such characters belong to the query or to the docid they stand in.
ODD_SEPARATORS = "\x85\u2028\u2029\xa0\x1c\x1d\x1e"

_letters = st.characters(exclude_categories=["Cs", "Z", "Cc"], exclude_characters="\ufeff")
ids = st.text(_letters, min_size=1, max_size=8)
docids = st.text(st.one_of(_letters, st.sampled_from(ODD_SEPARATORS)), min_size=1, max_size=8)
queries = st.text(st.one_of(_letters, st.sampled_from(" " + ODD_SEPARATORS)), min_size=1).filter(str.strip)


def write(path: Path, content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("topics")


class TestReadTopics:
    @pytest.mark.unit
    @pytest.mark.parametrize("name", ["t.tsv", "t.txt", "t.tsv.gz", "T.TSV"])
    def test_tsv_in_file_order(self, tmp_path: Path, name: str) -> None:
        path = write(tmp_path / name, "q10\t what is jpq \n2\tsecond\n")
        assert list(read_topics(path).items()) == [("q10", "what is jpq"), ("2", "second")]

    @pytest.mark.unit
    @pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
    @pytest.mark.parametrize("qid_field", ["_id", "id", "qid", "query_id"])
    @pytest.mark.parametrize("text_field", ["text", "query", "title", "contents"])
    def test_jsonl_fields(self, tmp_path: Path, name: str, qid_field: str, text_field: str) -> None:
        lines = [{qid_field: "b", text_field: "one\ttwo"}, {qid_field: 7, text_field: " seven ", "metadata": {}}]
        path = write(tmp_path / name, "\n".join(map(json.dumps, lines)))
        assert read_topics(path) == {"b": "one\ttwo", "7": "seven"}

    @pytest.mark.unit
    def test_first_field_with_text_counts(self, tmp_path: Path) -> None:
        path = write(tmp_path / "t.jsonl", '{"_id": "1", "contents": "last", "text": "", "title": "a title"}')
        assert read_topics(path) == {"1": "a title"}

    @pytest.mark.unit
    @pytest.mark.parametrize("name", ["t.tsv", "t.jsonl"])
    def test_byte_order_mark_crlf_and_blank_lines(self, tmp_path: Path, name: str) -> None:
        lines = (
            ["1\tone", "", "2\ttwo", "  "]
            if name == "t.tsv"
            else ['{"id":"1","text":"one"}', "", '{"id":2,"text":"two"}']
        )
        path = write(tmp_path / name, BYTE_ORDER_MARK + "\r\n".join(lines).encode())
        assert read_topics(path) == {"1": "one", "2": "two"}

    @pytest.mark.unit
    @pytest.mark.parametrize("separator", [*ODD_SEPARATORS, "\x0b", "\x0c"])
    def test_odd_separators_do_not_end_a_query(self, tmp_path: Path, separator: str) -> None:
        path = write(tmp_path / "t.tsv", f"1\tbefore{separator}after\n2\ttwo\n")
        assert read_topics(path) == {"1": f"before{separator}after", "2": "two"}

    @pytest.mark.unit
    @pytest.mark.parametrize("header", ["qid\tquery", "query_id\ttext", "id\tTitle", "_id\tquestion", "topic\tquery"])
    @pytest.mark.parametrize("name", ["t.tsv", "t.txt.gz", "T.TSV.GZ"])
    def test_a_header_line_is_no_query(self, tmp_path: Path, header: str, name: str) -> None:
        (tmp_path / name).write_bytes(gzip.compress(BYTE_ORDER_MARK + f"{header}\r\n1\tone\r\nid\ttext\r\n".encode()))
        assert read_topics(str(tmp_path / name)) == {"1": "one", "id": "text"}
        (tmp_path / name).write_text(f"{header}\n")
        with pytest.raises(TopicsError, match="holds no query"):
            read_topics(str(tmp_path / name))

    @pytest.mark.unit
    @pytest.mark.parametrize("line", ["qid\twhat is a query", "how\tquery", "1\ttitle"])
    def test_a_query_is_no_header_line(self, tmp_path: Path, line: str) -> None:
        assert read_topics(write(tmp_path / "t.tsv", line)) == {line.split("\t")[0]: line.split("\t")[1]}

    @pytest.mark.property
    @given(st.dictionaries(ids, queries, min_size=1), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
    def test_written_topics_are_read_back(
        self, folder: Path, topics: dict[str, str], mark: bool, newline: bytes
    ) -> None:
        lines = [f"{qid}\t{query}".encode() for qid, query in topics.items()]
        path = write(folder / "t.tsv", BYTE_ORDER_MARK * mark + newline.join(lines))
        assert list(read_topics(path).items()) == [(qid, query.strip()) for qid, query in topics.items()]

    @pytest.mark.property
    @given(st.dictionaries(ids, st.text().filter(str.strip), min_size=1))
    def test_written_jsonl_is_read_back(self, folder: Path, topics: dict[str, str]) -> None:
        lines = [json.dumps({"_id": qid, "text": query}) for qid, query in topics.items()]
        path = write(folder / "t.jsonl", "\n".join(lines))
        assert list(read_topics(path).items()) == [(qid, query.strip()) for qid, query in topics.items()]

    @pytest.mark.unit
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "holds no query"),
            ("\n \n", "holds no query"),
            ("1\tone\ntwo\n", "line 2 has no tab"),
            ("1\tone\n\n2\ta\tb\n", "line 3 has 3 columns, so its query holds a tab"),
            ("1\tone\n2\t \n", "line 2: query '2' is empty"),
            ("\tone\n", "line 1 has an empty qid"),
            ("q 1\tone\n", "line 1 has whitespace in its qid 'q 1'"),
            ("q\xa01\tone\n", "line 1 has whitespace in its qid"),
            ("1\tone\nq\0\ttwo\n", "line 2 has a control character in its qid"),
            ("1\tone\n2\ttwo\n1\tone\n", "line 3 repeats the qid '1'"),
            (b"1\tone\n2\tcaf\xe9\n", "line 2 is not UTF-8"),
            ("1\tone\n".encode("utf-16"), "line 1 is not UTF-8"),
        ],
    )
    def test_refused_tsv(self, tmp_path: Path, content: str | bytes, message: str) -> None:
        path = write(tmp_path / "t.tsv", content)
        with pytest.raises(TopicsError) as caught:
            read_topics(path)
        assert str(caught.value).startswith(path)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.unit
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", "is no JSON"),
            ("[" * 200_000, "is no JSON"),
            ("[1]", "is no JSON object"),
            ('{"text": "t"}', "has no qid"),
            ('{"_id": null, "text": "t"}', "has no qid"),
            ('{"_id": true, "text": "t"}', "has no qid"),
            ('{"_id": 1.5, "text": "t"}', "has no qid"),
            ('{"_id": "", "text": "t"}', "has an empty qid"),
            ('{"_id": "a\\tb", "text": "t"}', "has whitespace in its qid"),
            ('{"_id": "2"}', "has no query"),
            ('{"_id": "2", "text": ["t"]}', "has no query"),
            ('{"_id": "2", "text": " "}', "query '2' is empty"),
            ('{"_id": "2", "text": null}', "query '2' is empty"),
            ('{"_id": "1", "text": "again"}', "repeats the qid '1'"),
            ('{"_id": "2", "text": "\\ud800"}', "half a surrogate pair"),
        ],
    )
    def test_refused_jsonl(self, tmp_path: Path, line: str, message: str) -> None:
        path = write(tmp_path / "t.jsonl", '{"_id": "1", "text": "one"}\n' + line)
        with pytest.raises(TopicsError, match="line 2") as caught:
            read_topics(path)
        assert message in str(caught.value)

    @pytest.mark.unit
    def test_cut_gzip(self, tmp_path: Path) -> None:
        lines = "".join(f"{number}\tquery {number * 7919}\n" for number in range(2000))
        path = tmp_path / "t.tsv.gz"
        path.write_bytes(gzip.compress(lines.encode())[:-100])
        with pytest.raises(TopicsError, match=r"after line \d+ is no whole gzip file"):
            read_topics(str(path))

    @pytest.mark.unit
    @pytest.mark.parametrize("name", ["absent.tsv", "absent", "absent.jsonl.gz"])
    def test_missing_file(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(TopicsError, match="does not exist"):
            read_topics(str(tmp_path / name))

    @pytest.mark.unit
    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(TopicsError, match="is a folder"):
            read_topics(str(tmp_path))


class TestByPyserini:
    """What we do not read ourselves; pyserini is replaced here, its door has tests of its own."""

    @pytest.fixture(autouse=True)
    def _door(self, monkeypatch: pytest.MonkeyPatch) -> None:
        door = "pyserini_jpq.compat.pyserini."
        monkeypatch.setattr(door + "topics_by_name", lambda name: [("9", name), ("1", "one")] if name != "none" else [])
        monkeypatch.setattr(door + "topics_from_file", lambda path, how: [("file", f"{Path(path).name} {how}")])

    @pytest.mark.unit
    def test_name(self) -> None:
        assert list(read_topics("dl19-passage").items()) == [("9", "dl19-passage"), ("1", "one")]

    @pytest.mark.unit
    def test_name_of_a_folder_here_is_still_a_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "cacm").mkdir()
        monkeypatch.chdir(tmp_path)
        assert read_topics("cacm")["9"] == "cacm"

    @pytest.mark.unit
    def test_name_without_topics(self) -> None:
        with pytest.raises(TopicsError, match="none holds no query"):
            read_topics("none")

    @pytest.mark.unit
    @pytest.mark.parametrize("name", ["t.trec", "t.json", "t"])
    def test_other_endings(self, tmp_path: Path, name: str) -> None:
        assert read_topics(write(tmp_path / name, "x")) == {"file": f"{name} default"}

    @pytest.mark.unit
    @pytest.mark.parametrize("tag", ["<DOC>", "\n<top>"])
    def test_tagged_text_file(self, tmp_path: Path, tag: str) -> None:
        assert read_topics(write(tmp_path / "t.txt", f"{tag}\n<num> 1\n")) == {"file": "t.txt default"}

    @pytest.mark.unit
    def test_tsv_that_begins_with_a_bracket(self, tmp_path: Path) -> None:
        assert read_topics(write(tmp_path / "t.txt", "<1>\tone\n")) == {"<1>": "one"}

    @pytest.mark.unit
    def test_qids_of_pyserini_are_checked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pyserini_jpq.compat.pyserini.topics_by_name", lambda name: [("a\0", "one")])
        with pytest.raises(TopicsError, match="dl19-passage has a control character in its qid"):
            read_topics("dl19-passage")

    @pytest.mark.unit
    def test_other_formats(self, tmp_path: Path) -> None:
        assert read_topics(write(tmp_path / "t.jsonl", "{}"), "kilt") == {"file": "t.jsonl kilt"}

    @pytest.mark.unit
    def test_qrels_by_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(tmp_path / "q.txt", "1 0 d 2\n")
        monkeypatch.setattr("pyserini_jpq.compat.pyserini.qrels_path_by_name", {"dl19-passage": path}.__getitem__)
        assert read_qrels("dl19-passage") == {"1": {"d": 2}}


judgements = st.dictionaries(ids, st.dictionaries(docids, st.integers(-2, 4), min_size=1, max_size=5), min_size=1)


class TestReadQrels:
    @pytest.mark.unit
    @pytest.mark.parametrize(
        "content",
        [
            "1 0 a 1\n1 0 b -1\n2 Q0 a 0\n",
            "1\t0\ta\t1\r\n1\t0\tb\t-1\r\n\r\n2\t0\ta\t0",
            "query-id\tcorpus-id\tscore\n1\ta\t1\n1\tb\t-1\n2\ta\t0\n",
            "1\ta\t+1\n1\tb\t-1\n2\ta\t0\n",
            "1 0 a 1\n2 0 a 0\n1 0 b -1\n1 0 a 1\n",
            "qid Q0 docid relevance\n1 0 a 1\n1 0 b -1\n2 0 a 0\n",
        ],
    )
    @pytest.mark.parametrize("name", ["q.txt", "q.tsv.gz"])
    def test_formats(self, tmp_path: Path, content: str, name: str) -> None:
        assert read_qrels(write(tmp_path / name, content)) == {"1": {"a": 1, "b": -1}, "2": {"a": 0}}

    @pytest.mark.property
    @given(judgements, st.sampled_from([" ", "\t", " \t "]), st.booleans(), st.booleans())
    def test_written_qrels_are_read_back(
        self, folder: Path, qrels: dict[str, dict[str, int]], space: str, is_trec: bool, has_header: bool
    ) -> None:
        rows = [["query-id", "0", "corpus-id", "score"]] if has_header else []
        rows += [[qid, "0", docid, str(grade)] for qid, judged in qrels.items() for docid, grade in judged.items()]
        lines = [space.join(row if is_trec else [row[0], *row[2:]]) for row in rows]
        found = read_qrels(write(folder / "q.txt", "\n".join(lines)))
        assert found == qrels
        assert list(found) == list(qrels)

    @pytest.mark.unit
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "holds no judgement"),
            ("query-id\tcorpus-id\tscore\n", "holds no judgement"),
            ("1 a\n", "line 1 has 2 columns"),
            ("1\n", "line 1 has 1 column;"),
            ("1 0 a 1\n\n1 0 b\n", "line 3 has 3 columns, the lines before it 4"),
            ("1 Q0 a 1 0.5 tag\n", "line 1 has 6 columns"),
            ("1 0 a 1\n1 0 b 0.5\n", "line 2: relevance '0.5' is no whole number"),
            ("1 0 a x\n", "line 1: relevance 'x'"),
            ("1 0 a 1_0\n", "line 1: relevance '1_0'"),
            ("1 0 a 8841823\n", "line 1: relevance '8841823'"),
            ("1 0 a 1\n1 0 b 1\n1 0 a 2\n", "line 3 judges 'a' for query '1' as 2, but a line before it as 1"),
            (b"1 0 a 1\n1 0 \xff 1\n", "line 2 is not UTF-8"),
            ("1 0 a 1\n1 0 a\0b 1\n", "line 2 holds a control character"),
            ("1 0 a\x7f 1\n", "line 1 holds a control character"),
        ],
    )
    def test_refused(self, tmp_path: Path, content: str | bytes, message: str) -> None:
        path = write(tmp_path / "q.txt", content)
        with pytest.raises(TopicsError) as caught:
            read_qrels(path)
        assert str(caught.value).startswith(path)
        assert message in str(caught.value)

    @pytest.mark.unit
    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(TopicsError, match="does not exist; expected a file of qrels"):
            read_qrels(str(tmp_path / "absent.txt"))


scores = st.floats(allow_nan=False, allow_infinity=False)
hits = st.dictionaries(ids, st.dictionaries(docids, scores, min_size=1, max_size=5), min_size=1)


class TestReadRun:
    @pytest.mark.unit
    @pytest.mark.parametrize("name", ["r.txt", "r.txt.gz", "r.gz", "no-ending"])
    def test_trec(self, tmp_path: Path, name: str) -> None:
        path = write(tmp_path / name, "1 Q0 a 1 2.5 tag\n2 Q0 a 1 -1e-3 tag\n1\tQ0\tb\t2\t2.5\ttag\r\n")
        assert read_run(path) == {"1": {"a": 2.5, "b": 2.5}, "2": {"a": -0.001}}

    @pytest.mark.unit
    def test_msmarco_scores_are_reciprocal_ranks(self, tmp_path: Path) -> None:
        assert read_run(write(tmp_path / "r.tsv", "1\ta\t1\n1\tb\t4\n")) == {"1": {"a": 1.0, "b": 0.25}}

    @pytest.mark.property
    @given(hits)
    def test_written_run_is_read_back(self, folder: Path, run: dict[str, dict[str, float]]) -> None:
        lines = [f"{qid} Q0 {docid} 1 {score!r} t" for qid, found in run.items() for docid, score in found.items()]
        assert read_run(write(folder / "r.txt", "\n".join(lines))) == run

    @pytest.mark.unit
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "holds no hit"),
            ("1 0 a 1\n", "line 1 has 4 columns"),
            ("1 Q0 a 1 0.5 tag\n1 Q0 b 2\n", "line 2 has 4 columns, the lines before it 6"),
            ("1 Q0 a 1 high tag\n", "line 1: score 'high' is no finite number"),
            ("1 Q0 a 1 nan tag\n", "line 1: score 'nan' is no finite number"),
            ("1 Q0 a 1 inf tag\n", "line 1: score 'inf' is no finite number"),
            ("1 a 0\n", "line 1: rank '0' is no whole number from 1"),
            ("1 a 0.5\n", "line 1: rank '0.5' is no whole number from 1"),
            ("1 Q0 a 1 9 t\n2 Q0 a 1 9 t\n1 Q0 b 2 8 t\n1 Q0 a 3 7 t\n", "line 4 repeats 'a' for query '1'"),
            (b"1 Q0 \xff 1 9 t\n", "line 1 is not UTF-8"),
            ("1 Q0 a\0b 1 9 t\n1 Q0 a\0c 2 8 t\n", "line 1 holds a control character"),
            ("1\0 Q0 a 1 9 t\n", "line 1 holds a control character"),
        ],
    )
    def test_refused(self, tmp_path: Path, content: str | bytes, message: str) -> None:
        path = write(tmp_path / "r.txt", content)
        with pytest.raises(RunError) as caught:
            read_run(path)
        assert str(caught.value).startswith(path)
        assert message in str(caught.value)

    @pytest.mark.unit
    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="does not exist"):
            read_run(str(tmp_path / "absent"))
        with pytest.raises(RunError, match="is a folder"):
            read_run(str(tmp_path))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("dl19-passage", False),
        ("beir-v1.0.0-nfcorpus-test", False),
        ("topics.tsv", True),
        ("Q.TXT", True),
        ("runs/x", True),
        ("x.gz", True),
    ],
)
def test_looks_like_path(source: str, expected: bool) -> None:
    assert looks_like_path(source) is expected


@pytest.mark.integration
@pytest.mark.skipif(not DATA.is_dir(), reason="the collections in ../shared/data are not here")
def test_real_files() -> None:
    named = DATA / "topics-and-qrels"
    assert len(read_topics(str(named / "topics.msmarco-passage.dev-subset.txt"))) == 6980
    assert len(read_topics(str(named / "topics.beir-v1.0.0-nfcorpus.test.tsv.gz"))) == 323
    assert sum(map(len, read_qrels(str(named / "qrels.msmarco-passage.dev-subset.txt")).values())) == 7437
    assert read_qrels(str(DATA / "nfcorpus/qrels/test.tsv")) == read_qrels(
        str(named / "qrels.beir-v1.0.0-nfcorpus.test.txt")
    )

import builtins
import gzip
import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_jpq.convert.docids import DocidStyle, docids_of, write_docid_file, write_pid2offset
from pyserini_jpq.errors import ConversionError
from pyserini_jpq.index.folder import read_docids
from pyserini_jpq.trust.unpickle import load_plain_dict

pytestmark = pytest.mark.unit
IDS = np.arange(3)


def dump(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [int, np.int32, np.int64, np.uint16, np.dtype(">i4").type, str])
def test_maps_of_the_authors(tmp_path, protocol, kind):
    plain = {1555982: 0, 301595: 1, 7: 2}
    if kind is np.uint16:
        plain = {55982: 0, 30159: 1, 7: 2}
    path = dump(tmp_path / "pid2offset.pickle", {kind(pid): row for pid, row in plain.items()}, protocol)
    assert load_plain_dict(path) == {(str(p) if kind is str else p): row for p, row in plain.items()}
    assert docids_of(IDS, pid2offset=path, style=DocidStyle("D")) == [f"D{pid}" for pid in plain]


def test_big_endian_integers(tmp_path):
    value = np.array([1555982], dtype=">i4")[0]
    assert value.dtype.byteorder != "<"
    path = dump(tmp_path / "m.pickle", {value: 0})
    assert load_plain_dict(path) == {1555982: 0}


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, "touch {}"),
        Evil(builtins.exec, "open({!r}, 'w')"),
        {1: Evil(builtins.eval, "open({!r}, 'w')")},
        {Evil(builtins.print, "{}"): 1},
        {1: np.float64(0.5)},
        {1: np.arange(3)},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_that_name_anything_else_are_refused(tmp_path, value, protocol):
    mark = tmp_path / "mark"
    evil = (
        value if isinstance(value, Evil) else next((v for p in value.items() for v in p if isinstance(v, Evil)), None)
    )
    if evil:
        function, (text,) = evil.call
        evil.call = function, (text.format(str(mark)),)
    path = dump(tmp_path / "m.pickle", value, protocol)
    with pytest.raises(ConversionError, match="nothing of it was run") as problem:
        load_plain_dict(path)
    assert "\n" not in str(problem.value) and not mark.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no pickle",
        b"\x80\x04}\x94(K\x01K",
        b"cnumpy\ndtype\n}b.",  # would change a stand-in
        b"cnumpy.core.multiarray\nscalar\nN(dV_function\nNstb.",
        b"cnumpy.core.multiarray\nscalar\n(K\x01K\x02tR.",
        b"cnumpy\ndtype\n(VO8\ntR.",
        b"c_codecs\nencode\n(Vaa\nVutf7\ntR.",
        b"Pabc\n.",  # a reference to what is outside
        b"\x82\x01.",
        b"\x80\x04]\x94.",
        b"\x80\x04}\x94K\x01\x8c\x01a\x94s.",
        b"\x80\x04}\x94K\x01\x88s.",
        b"\x80\x04}\x94K\x01Ns.",
        b"\x80\x04}\x94G@\x00\x00\x00\x00\x00\x00\x00K\x01s.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
    ],
)
def test_damaged_and_crafted_pickles_are_one_line(tmp_path, raw):
    (tmp_path / "m.pickle").write_bytes(raw)
    with pytest.raises(ConversionError) as problem:
        load_plain_dict(tmp_path / "m.pickle")
    assert "\n" not in str(problem.value)
    # What was tried has not changed the stand-ins.
    assert load_plain_dict(dump(tmp_path / "good.pickle", {np.int32(-5): 1})) == {-5: 1}


@pytest.mark.property
@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_fail(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "fuzz.pickle"
    path.write_bytes(raw)
    try:
        found = load_plain_dict(path)
    except ConversionError:
        return
    assert all(type(k) in (int, str) and type(v) is int for k, v in found.items())


def test_lists_and_tables(tmp_path):
    (tmp_path / "docid").write_text("a\nb\nc\n")
    (tmp_path / "m.tsv").write_text("c\t2\r\na\t0\nb\t1")
    assert docids_of(IDS, docid=tmp_path / "docid") == docids_of(IDS, pid2offset=tmp_path / "m.tsv") == ["a", "b", "c"]
    assert docids_of(IDS) == ["0", "1", "2"]
    for pack in (bytes, gzip.compress):
        (tmp_path / "marked").write_bytes(pack("\ufeffMED-10\t0\r\nb\t1\nc\t2\n".encode()))
        assert docids_of(IDS, pid2offset=tmp_path / "marked") == ["MED-10", "b", "c"]
        (tmp_path / "marked").write_bytes(pack("\ufeffMED-10\nb\nc\n".encode()))
        assert docids_of(IDS, docid=tmp_path / "marked") == ["MED-10", "b", "c"]
        assert read_docids(tmp_path / "marked") == ["MED-10", "b", "c"]  # --delete-file
    assert docids_of(np.array([0, 2]), docid=tmp_path / "docid") == ["a", "c"]
    assert docids_of(np.array([2]), pid2offset=tmp_path / "m.tsv", style=DocidStyle("D")) == ["Dc"]


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (DocidStyle(), ["D1", "2"]),
        (DocidStyle(add="D"), ["D1", "D2"]),
        (DocidStyle(strip="D"), ["1", "2"]),
        (DocidStyle(add="E", strip="D"), ["E1", "E2"]),
    ],
)
def test_docids_with_and_without_the_letter(tmp_path, style, expected):
    (tmp_path / "docid").write_text("D1\n2\n")
    assert docids_of(np.arange(2), docid=tmp_path / "docid", style=style) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\t0\nb\t1\n", "no docid for the id 2"),
        ("a\t0\nb\t1\nc\t2\nd\t3\n", "4 docids for 3 documents"),
        ("a\t0\nb\t1\nc\t1\n", "two docids to the offset 1"),
        ("a\t0\na\t1\nc\t2\n", "'a' twice"),
        ("a\t0\nb b\t1\nc\t2\n", "'b b'; a docid is not empty"),
        ("a\t0\n\t1\nc\t2\n", "the docid ''"),
        ("a\t0\nb\0\t1\nc\t2\n", r"the docid 'b\\x00'; a docid .* holds no .* control character"),
        ("a\t0\nb\n", "line 2: expected docid<TAB>offset, not 'b'"),
        ("a\t-1\n", "line 1: expected"),
        ("a\tx\n", "line 1: expected"),
    ],
)
def test_maps_that_do_not_fit_are_refused(tmp_path, text, message):
    (tmp_path / "m.tsv").write_text(text)
    with pytest.raises(ConversionError, match=message):
        docids_of(IDS, pid2offset=tmp_path / "m.tsv")


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConversionError, match="does not exist"):
        docids_of(IDS, pid2offset=tmp_path / "nowhere.pickle")
    with pytest.raises(ConversionError, match="cannot be read as lines"):
        docids_of(IDS, docid=tmp_path / "nowhere")
    with pytest.raises(ConversionError, match="give one of them"):
        docids_of(IDS, docid=tmp_path, pid2offset=tmp_path)
    (tmp_path / "latin").write_bytes(b"\xe4\n")
    with pytest.raises(ConversionError, match="line 1 is not UTF-8"):
        docids_of(IDS, docid=tmp_path / "latin")


@pytest.mark.parametrize("docids", [["7", "0", "30"], ["D7", "07", "x"]])
@pytest.mark.parametrize("name", ["m.pickle", "m.tsv"])
def test_written_maps_come_back(tmp_path, docids, name):
    write_pid2offset(docids, tmp_path / name)
    assert docids_of(IDS, pid2offset=tmp_path / name) == docids
    if name == "m.pickle":
        with open(tmp_path / name, "rb") as file:
            assert pickle.load(file) == {int(d) if docids[0] == "7" else d: i for i, d in enumerate(docids)}
    write_docid_file(docids, tmp_path / "docid")
    assert docids_of(IDS, docid=tmp_path / "docid") == docids

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyserini_jpq
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index import docids as module
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.folder import IndexFolder
from tests.conftest import make_index, run


@pytest.mark.property
@settings(max_examples=80)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Z", "C"], codec="utf-8"), min_size=1), max_size=70),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
)
def test_docids_are_the_lines_of_the_file(tmp_path_factory, docids, block, small, ended):
    path = tmp_path_factory.mktemp("docids") / "docid"
    text = "".join(f"{docid}\n" for docid in docids)
    path.write_text(text if ended else text.removesuffix("\n"), encoding="utf-8", newline="\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "_MAPPED", module._MAPPED if small else -1)
        found = Docids(path, len(docids))
    assert len(found) == len(docids) and list(found) == docids
    assert [found[i] for i in range(len(docids))] == docids
    assert found[-3:] == docids[-3:] and found[::2] == docids[::2]
    assert [found[i] for i in np.arange(len(docids))] == docids
    assert found.at(np.arange(len(docids))[::-1]) == docids[::-1] and found.at(np.empty(0, dtype=np.int64)) == []
    with pytest.MonkeyPatch.context() as patch:  # one read for each part, for some, for all
        for apart, together in ((0, 1), (40, 1 << 18), (1 << 14, 100)):
            patch.setattr(module, "_APART", apart)
            patch.setattr(module, "_BLOCK", together)
            rows = np.random.default_rng(0).integers(0, max(1, len(docids)), 2 * len(docids))
            assert found.at(rows) == [docids[row] for row in rows]


@pytest.mark.unit
def test_what_is_not_there_is_refused(tmp_path):
    path = tmp_path / "docid"
    path.write_text("a\nb\nc")  # without the last line's end
    found = Docids(path, 3)
    assert list(found) == ["a", "b", "c"] and found[-1] == "c"
    for row in (3, -4):
        with pytest.raises(IndexError):
            found[row]
    with pytest.raises(IndexFolderError, match="holds 3 docids for 4 documents"):
        Docids(path, 4)


BAD = ["a b", "a\tb", "a\rb", "\x1b[2Jx", "a\x00b", "", "a\u00a0b"]


@pytest.mark.unit
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("small", [True, False])
def test_a_docid_that_no_run_can_hold_is_refused_when_it_is_read(tmp_path, bad, small, monkeypatch):
    path = tmp_path / "docid"
    path.write_text("".join(f"{docid}\n" for docid in ("fine", bad, "é", "a\u00adb")), newline="\n")
    monkeypatch.setattr(module, "_MAPPED", module._MAPPED if small else -1)
    found = Docids(path, 4)  # it is not looked at on opening
    assert found.at(np.array([3, 0, 2])) == ["a\u00adb", "fine", "é"]
    for read in (lambda: found.at(np.array([0, 1])), lambda: found[1], lambda: list(found)):
        with pytest.raises(IndexFolderError, match="run files and qrels need docids") as problem:
            read()
        assert str(problem.value).startswith(str(path)) and "\n" not in str(problem.value)
        assert str(problem.value).isprintable()


@pytest.fixture
def of_others(tmp_path):
    """Return a function that makes an index whose last docid is another."""

    def make(docid: str):
        vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
        return make_index(tmp_path / "x", vectors, [*(f"d{i}" for i in range(299)), docid])

    return make


@pytest.mark.integration
@pytest.mark.parametrize("docid", ["a b", "\x1b[2Jx", "d0"])
def test_whole_docids_are_checked_where_they_are_read(of_others, docid, tmp_path, capsys):
    index = of_others(docid)
    with pytest.raises(IndexFolderError, match="docid"):
        IndexFolder(index, verify=True)
    before = (index / "docid").read_bytes()
    assert run("index", "--index", index, "--delete", "d5") == 2
    assert run("convert", "--index", index, "--to", "faiss", "--output", tmp_path / "f", "--docid", tmp_path / "l") == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 2 and all(str(index) in line and repr(docid) in line for line in told), told
    assert (index / "docid").read_bytes() == before and not (tmp_path / "l").exists()


@pytest.mark.integration
def test_hits_with_a_docid_that_no_run_can_hold(of_others):
    index = pyserini_jpq.Index(of_others("a b"))
    query = np.random.default_rng(1).normal(size=16).astype(np.float32)
    assert len(index.docids) == 300
    with pytest.raises(IndexFolderError, match="whitespace in its docid 'a b'"):
        index.search(query, 300)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index import docids as module
from pyserini_jpq.index.docids import Docids


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), min_size=1), max_size=70),
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

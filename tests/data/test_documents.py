"""Documents from Python: every form gives the same collection, one document at a time."""

import numpy as np
import pytest

from pyserini_jpq.data.collection import Collection, Document
from pyserini_jpq.data.documents import documents_of, spooled
from pyserini_jpq.errors import CollectionError

pytestmark = pytest.mark.unit

EXPECTED = [Document("d1", "", "one"), Document("2", "Two", "two é\u2028x")]
FORMS = {
    "mapping": {"d1": "one", "2": {"title": "Two", "text": "two é\u2028x"}},
    "pairs": [("d1", "one"), (2, {"title": "Two", "contents": "two é\u2028x"})],
    "records": [{"id": "d1", "text": "one"}, {"_id": 2, "title": "Two", "text": "two é\u2028x"}],
    "documents": EXPECTED,
    "arrays": [("d1", "one"), (np.int64(2), {"title": "Two", "text": "two é\u2028x"})],
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_one_collection(form, tmp_path):
    with spooled(FORMS[form], tmp_path / "x") as path:
        assert list(Collection(path)) == EXPECTED
    assert list(tmp_path.iterdir()) == []


def test_a_generator_is_read_once_and_not_held(tmp_path):
    alive = []

    class Text(str):
        def __del__(self):
            alive.pop()

    def texts():
        for i in range(1000):
            alive.append(i)
            assert len(alive) < 5
            yield Text(f"text {i}")

    with spooled(documents_of((f"d{i}" for i in range(1000)), texts()), tmp_path / "x") as path:
        assert Collection(path).scan().documents == 1000


def test_what_is_no_document_is_one_line(tmp_path):
    for wrong, line in (
        ([("d1", 3)], "text and title must be text"),
        (["d1"], "document 1 is str"),
        ([("d1", "x"), (None, "y")], "document 2 has the docid None"),
        ([(True, "x")], "has the docid True"),
    ):
        with pytest.raises(CollectionError, match=line), spooled(wrong, tmp_path / "x"):
            pass
    for ids, texts in ((["a"], ["x", "y"]), (["a", "b"], ["x"])):
        with pytest.raises(CollectionError, match="1 (ids|texts) for more"):
            list(documents_of(ids, texts))
    assert list(tmp_path.iterdir()) == []

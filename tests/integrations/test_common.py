"""A framework that is missing, and an index without texts, are one line."""

import importlib
import sys

import pytest

import pyserini_jpq as jpq
from pyserini_jpq.errors import InstallationError, JPQError
from pyserini_jpq.integrations.common import as_index, with_texts

pytestmark = pytest.mark.unit
FRAMEWORKS = {
    "haystack": "haystack",
    "langchain": "langchain_core",
    "llamaindex": "llama_index",
    "pyterrier": "pyterrier",
}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_missing_framework_is_one_line(name, monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == FRAMEWORKS[name]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, FRAMEWORKS[name], None)
    monkeypatch.delitem(sys.modules, f"pyserini_jpq.integrations.{name}", raising=False)
    with pytest.raises(InstallationError, match=rf"^{name} cannot be imported .*\[{name}\]"):
        importlib.import_module(f"pyserini_jpq.integrations.{name}")


@pytest.mark.integration
def test_texts_are_needed_where_documents_are_made_of_them(built, notes):
    with pytest.raises(JPQError, match=r"keeps no texts, .* --texts CORPUS` keeps them"):
        with_texts(built / "x.opq-m4")
    assert with_texts(notes) is notes and isinstance(as_index(notes.path), jpq.Index)

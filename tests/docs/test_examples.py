"""The examples in docstrings of public functions run, with the names that they share."""

import doctest
import importlib
import shutil

import pytest

pytestmark = pytest.mark.integration

MODULES = (
    "api.index",
    "api.training",
    "encode.run",
    "index.run",
    "train.run",
    "train.options",
    "search.run",
    "evaluate.runs",
    "convert.run",
)


@pytest.fixture
def shared(built, tiny_encoder, names, here):
    """FOLDER to write to, an ENCODER, EMBEDDINGS and an INDEX of it, IDS and TEXTS of 300 documents."""
    encoder = shutil.copytree(tiny_encoder, here / "encoders" / "tiny")
    # Mean pooling and unit length, so that a text finds itself.
    (encoder / "encoder.yaml").write_text("backbone: .\npooling: mean\nnormalize: true\n")
    return {
        "FOLDER": here,
        "ENCODER": "encoders/tiny",
        "EMBEDDINGS": built / "embeddings",
        "INDEX": built / "x.opq-m4",
        "IDS": names["ids"],
        "TEXTS": names["texts"],
    }


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings_run(module, shared):
    module = importlib.import_module(f"pyserini_jpq.{module}")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(optionflags=flags)
    for test in finder.find(module, extraglobs=shared):
        runner.run(test)
    assert runner.summarize().attempted and not runner.summarize().failed

"""An index that keeps its texts, for all frameworks."""

import pytest

import pyserini_jpq as jpq
from tests.conftest import run


@pytest.fixture(scope="session")
def notes(built, tiny_collection, tmp_path_factory):
    """The tiny collection as an index with texts."""
    path = tmp_path_factory.mktemp("notes") / "notes"
    words = ["--embeddings", built / "embeddings", "--output", path, "--m", 4, "--texts", tiny_collection]
    assert run("index", *words) == 0
    return jpq.Index(path)


@pytest.fixture(scope="session")
def queries(tiny_collection):
    from pyserini_jpq.data.topics import read_topics

    return dict(list(read_topics(str(tiny_collection / "topics.dev.tsv")).items())[:4])


@pytest.fixture
def query(queries):
    return next(iter(queries.values()))

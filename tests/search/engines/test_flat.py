import json

import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from tests.conftest import run

pytestmark = pytest.mark.integration


def test_flat_search_ranks_all_documents(built, tiny_collection, tmp_path, monkeypatch, capsys):
    from pyserini_jpq.data.runs import read_run
    from pyserini_jpq.data.topics import read_topics
    from pyserini_jpq.encode.source import find_encoder
    from pyserini_jpq.search.encoder import JPQQueryEncoder
    from pyserini_jpq.search.engines import flat

    monkeypatch.setattr(flat, "_BLOCK", 70)
    topics = tiny_collection / "topics.dev.tsv"
    flags = ("search", "--index", built / "embeddings", "--topics", topics, "--output", tmp_path / "run.txt")
    assert run(*flags, "--batch-size", 5) == 0
    found = read_run(str(tmp_path / "run.txt"))
    embeddings = Embeddings(built / "embeddings")
    assert json.loads((tmp_path / "run.txt.json").read_text())["bytes_per_document"] == 4 * 32
    source = find_encoder(embeddings.encoder["card"]["backbone"]).with_changes({"pooling": "mean", "normalize": True})
    queries = read_topics(str(topics))
    vectors = JPQQueryEncoder(source).encode_batch(list(queries.values()))
    scores = vectors @ np.concatenate(list(embeddings.blocks(1000))).T
    docids = list(embeddings.docids())
    for qid, row in zip(queries, scores, strict=True):
        assert found[qid] == {docid: pytest.approx(score, abs=1e-5) for docid, score in zip(docids, row, strict=True)}
    assert run(*flags, "--overwrite", "--hits", 7) == 0
    assert {len(hits) for hits in read_run(str(tmp_path / "run.txt")).values()} == {7}
    assert run(*flags, "--overwrite", "--prf-depth", 3) == 2 and "need an index" in capsys.readouterr().err


def test_an_empty_query_is_refused(built):
    from pyserini_jpq.errors import JPQError
    from pyserini_jpq.search.searcher import FlatSearcher

    class Encoder:
        def encode(self, query):
            return np.ones(32, dtype=np.float32)

    searcher = FlatSearcher(built / "embeddings", Encoder())
    with pytest.raises(JPQError, match="empty"):
        searcher.batch_search([" "], ["q"])
    assert len(searcher.batch_search(["a", "b"], ["1", "2"], k=4)["2"]) == 4


def test_a_query_that_was_not_encoded_is_named(built):
    from pyserini_jpq.errors import JPQError
    from pyserini_jpq.search.searcher import FlatSearcher

    class Encoded:
        def encode(self, query):
            return {"a": np.ones(32, dtype=np.float32)}[query]

    searcher = FlatSearcher(built / "embeddings", Encoded())
    assert len(searcher.batch_search(["a"], ["1"], k=4)["1"]) == 4
    with pytest.raises(JPQError, match="no vector for the query 'b'"):
        searcher.batch_search(["a", "b"], ["1", "2"])

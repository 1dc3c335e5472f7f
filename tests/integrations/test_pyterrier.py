"""PyTerrier's pipelines and experiments over a JPQ index."""

import numpy as np
import pytest

from pyserini_jpq.data.collection import Collection
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.errors import JPQError
from tests.test_api import HOW

pt = pytest.importorskip("pyterrier", reason="pyterrier is not installed")
pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def integration():
    from pyserini_jpq.integrations import pyterrier

    return pyterrier


@pytest.fixture(scope="module")
def topics(queries):
    return pd.DataFrame(list(queries.items()), columns=["qid", "query"])


def test_hits_are_those_of_the_index(integration, notes, queries, topics):
    found = integration.JPQRetriever(notes, num_results=7, texts=True)(topics)
    assert list(found.columns) == ["qid", "query", "docno", "score", "rank", "title", "text"]
    batch = notes.batch_search(queries, 7)
    expected = [(qid, hit.docid, hit.score, hit.text) for qid, hits in batch.items() for hit in hits]
    assert list(zip(found.qid, found.docno, found.score, found.text, strict=True)) == expected
    assert found["rank"].tolist() == [*range(7)] * len(queries) and found["query"].tolist()[0] == queries[found.qid[0]]


def test_vectors_are_searched_for_as_they_are(integration, notes, topics):
    vectors = notes.encode_queries(topics["query"].tolist())
    retriever = integration.JPQRetriever(notes.path, num_results=5)
    found = retriever(topics[["qid"]].assign(query_vec=list(vectors)))
    theirs = retriever(topics)
    assert found.docno.tolist() == theirs.docno.tolist() and "query_vec" in found
    np.testing.assert_allclose(found.score, theirs.score, rtol=1e-5)


def test_a_pipeline(integration, notes, topics, query):
    retriever = integration.JPQRetriever(notes, num_results=20)
    shorter = retriever >> pt.apply.score(lambda row: -row["rank"]) >> pt.apply.rename({"score": "score"})
    assert shorter.search(query).docno.tolist() == retriever.search(query).docno.tolist()
    assert len(retriever.search(query)) == 20 and len((retriever % 3).search(query)) == 3
    cut = (retriever % 3).compile()
    assert isinstance(cut, integration.JPQRetriever) and cut.num_results == 3
    assert retriever.fuse_rank_cutoff(50) is retriever
    both = (retriever % 10 + integration.JPQRetriever(notes) % 10).transform(topics)
    np.testing.assert_allclose(both.score.max(), 2 * retriever(topics).score.max(), rtol=1e-6)
    columns = pt.inspect.transformer_outputs(retriever, ["qid", "query"])
    assert columns == ["qid", "query", "docno", "score", "rank"] and len(retriever(topics[:0])) == 0


def test_what_cannot_be_searched_is_told(integration, notes):
    retriever = integration.JPQRetriever(notes)
    with pytest.raises(JPQError, match="empty"):
        retriever.search("  ")
    with pytest.raises(KeyError, match="required columns"):
        retriever(pd.DataFrame([{"qid": "1"}]))


def test_documents_at_the_end_of_a_pipeline_become_an_index(integration, tiny_collection, tiny_encoder, tmp_path):
    documents = list(Collection(tiny_collection / "documents.jsonl"))
    indexer = integration.JPQIndexer(tmp_path / "x", tiny_encoder, m=4, **HOW)
    pipeline = pt.apply.text(lambda row: row["text"].upper()) >> indexer
    retriever = pipeline.index({"docno": d.docid, "title": d.title, "text": d.text} for d in documents)
    assert len(retriever.index) == 300 and retriever.index.texts["d7"].text == documents[7].text.upper()
    found = retriever.search(documents[7].text)
    assert found.docno[0] == "d7" and len(found) == 300
    assert indexer.index_inputs() == [["docno", "text"]]


def test_an_experiment_beside_bm25(integration, notes, tiny_collection, queries, topics, tmp_path):
    """BM25 is Pyserini's, by its searcher as a transformer."""
    from pyserini_jpq.compat.loading import load

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    texts = ((d.docid, f"{d.title} {d.text}") for d in Collection(tiny_collection / "documents.jsonl"))
    lines = [f'{{"id": "{docid}", "contents": "{text}"}}' for docid, text in texts]
    (corpus / "documents.jsonl").write_text("\n".join(lines))
    indexer = load("pyserini.index.lucene").LuceneIndexer(str(tmp_path / "lucene"))
    indexer.add_batch_raw(lines)
    indexer.close()
    searcher = load("pyserini.search.lucene").LuceneSearcher(str(tmp_path / "lucene"))

    def bm25(of_query):
        row = of_query.iloc[0]
        hits = searcher.search(row["query"], 100)
        return pd.DataFrame([{**row, "docno": hit.docid, "score": hit.score} for hit in hits])

    judged = read_qrels(str(tiny_collection / "qrels.dev.txt"))
    qrels = pd.DataFrame([(q, d, g) for q in queries for d, g in judged[q].items()], columns=["qid", "docno", "label"])
    systems = [pt.apply.by_query(bm25, add_ranks=True), integration.JPQRetriever(notes, num_results=100)]
    table = pt.Experiment(systems, topics, qrels, ["recip_rank", "map"], names=["BM25", "JPQ"], baseline=0)
    assert table.name.tolist() == ["BM25", "JPQ"] and table.recip_rank[0] > 0.9 and 0 < table.recip_rank[1] <= 1

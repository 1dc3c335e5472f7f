"""LlamaIndex's retriever over a JPQ index."""

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def retriever(notes):
    from pyserini_jpq.integrations.llamaindex import JPQRetriever

    return JPQRetriever(notes, similarity_top_k=5)


def test_nodes_are_the_hits_of_the_index(retriever, notes, query):
    hits = notes.search(query, 5)
    expected = [(hit.docid, hit.text, hit.score, {"docid": hit.docid, "title": hit.title}) for hit in hits]
    for found in (retriever.retrieve(query), asyncio.run(retriever.aretrieve(query))):
        assert [(node.node_id, node.text, node.score, node.metadata) for node in found] == expected


def test_it_is_under_a_query_engine(retriever, notes, query):
    from llama_index.core.llms import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine

    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    answer = engine.query(query)
    assert [node.node_id for node in answer.source_nodes] == [hit.docid for hit in notes.search(query, 5)]

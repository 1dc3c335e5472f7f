"""Haystack's component over a JPQ index."""

import asyncio

import pytest


@pytest.fixture(scope="module", autouse=True)
def haystack():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
        yield pytest.importorskip("haystack", reason="haystack-ai is not installed")


pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def retriever(haystack, notes):
    from pyserini_jpq.integrations.haystack import JPQRetriever

    return JPQRetriever(notes, top_k=5)


def test_documents_are_the_hits_of_the_index(retriever, notes, query):
    hits = notes.search(query, 5)
    expected = [(hit.docid, hit.text, hit.score, {"docid": hit.docid, "title": hit.title}) for hit in hits]
    for found in (retriever.run(query), asyncio.run(retriever.run_async(query))):
        assert [(d.id, d.content, d.score, d.meta) for d in found["documents"]] == expected
    assert len(retriever.run(query, top_k=2)["documents"]) == 2


def test_it_is_a_part_of_a_pipeline_that_can_be_written_down(haystack, retriever, notes, query):
    from haystack.components.builders import PromptBuilder

    pipeline = haystack.Pipeline()
    pipeline.add_component("retriever", retriever)
    template = "{% for document in documents %}{{ document.content }}\n{% endfor %}"
    pipeline.add_component("prompt", PromptBuilder(template=template, required_variables=["documents"]))
    pipeline.connect("retriever", "prompt.documents")
    again = haystack.Pipeline.loads(pipeline.dumps(), allowed_modules=["pyserini_jpq.integrations.haystack"])
    expected = "".join(f"{hit.text}\n" for hit in notes.search(query, 5)).strip()
    for each in (pipeline, again):
        assert each.run({"retriever": {"query": query}})["prompt"]["prompt"].strip() == expected

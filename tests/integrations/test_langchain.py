"""LangChain's retriever over a JPQ index."""

import asyncio

import pytest

from pyserini_jpq.errors import JPQError

pytest.importorskip("langchain_core", reason="langchain-core is not installed")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def langchain():
    from pyserini_jpq.integrations import langchain

    return langchain


def test_documents_are_the_hits_of_the_index(langchain, notes, query):
    hits = notes.search(query, 5)
    retriever = langchain.JPQRetriever(index=notes, k=5)
    expected = [(hit.docid, hit.text, {"docid": hit.docid, "score": hit.score, "title": hit.title}) for hit in hits]
    for found in (retriever.invoke(query), asyncio.run(retriever.ainvoke(query)), retriever.batch([query])[0]):
        assert [(document.id, document.page_content, document.metadata) for document in found] == expected
    assert len(langchain.JPQRetriever(index=str(notes.path)).invoke(query)) == 10
    assert len(retriever.invoke(query, k=2)) == 2


def test_it_is_a_part_of_a_chain(langchain, notes, query):
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import RunnablePassthrough

    def joined(documents):
        return "\n".join(document.page_content for document in documents)

    retriever = langchain.JPQRetriever(index=notes, k=2)
    prompt = ChatPromptTemplate.from_template("Answer by this: {context}\n{question}")
    chain = {"context": retriever | joined, "question": RunnablePassthrough()} | prompt
    assert notes.search(query, 2)[1].text in chain.invoke(query).to_string()


def test_what_cannot_be_used_is_one_line(langchain, built, notes):
    with pytest.raises(JPQError, match="keeps no texts"):
        langchain.JPQRetriever(index=built / "x.opq-m4")
    with pytest.raises(JPQError, match="empty"):
        langchain.JPQRetriever(index=notes).invoke(" ")

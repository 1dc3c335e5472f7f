"""LangChain: a retriever over an index that keeps its texts.

Source: `langchain_core.retrievers` of langchain-core 1.8.
"""

from typing import Any

from pyserini_jpq.api import Hit, Index
from pyserini_jpq.integrations.common import needed, with_texts

with needed("langchain"):
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from pydantic import field_validator


class JPQRetriever(BaseRetriever):
    """Retrieve documents from a JPQ index, as a LangChain runnable.

    A document's id is its docid, its content the text; its metadata hold `docid`, `score` and `title`.

    Parameters
    ----------
    index
        An opened index, its folder, or its name.
    k
        Number of documents.
    threads
        Most threads to use.
    """

    index: Index
    k: int = 10
    threads: int = 1

    @field_validator("index", mode="before")
    @classmethod
    def _open(cls, index: Any) -> Index:
        return with_texts(index)

    def _get_relevant_documents(self, query: str, *, run_manager: Any, k: int | None = None) -> list[Any]:
        return [_document(hit) for hit in self.index.search(query, k or self.k, threads=self.threads)]


def _document(hit: Hit) -> Any:
    metadata = {"docid": hit.docid, "score": hit.score, "title": hit.title}
    return Document(id=hit.docid, page_content=hit.text or "", metadata=metadata)

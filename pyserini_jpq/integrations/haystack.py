"""Haystack: a retriever component over an index that keeps its texts.

Source: the components of haystack-ai 3.4.
"""

import asyncio
from pathlib import Path
from typing import Any

from pyserini_jpq.api import Hit, Index
from pyserini_jpq.integrations.common import needed, with_texts

with needed("haystack"):
    from haystack import Document, component, default_to_dict


@component
class JPQRetriever:
    """Retrieve documents from a JPQ index, as a Haystack component with the input `query` and the output `documents`.

    A document's id is its docid; its meta hold `docid` and `title`. A pipeline that is written to YAML holds the path
    of the index.

    Parameters
    ----------
    index
        An opened index, its folder, or its name.
    top_k
        Number of documents.
    threads
        Most threads to use.
    """

    def __init__(self, index: Index | str | Path, top_k: int = 10, threads: int = 1) -> None:
        self.index, self.top_k, self.threads = with_texts(index), top_k, threads

    def to_dict(self) -> dict[str, Any]:
        """Return the component as Haystack writes it."""
        written: dict[str, Any] = default_to_dict(
            self, index=str(self.index.path), top_k=self.top_k, threads=self.threads
        )
        return written

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None) -> dict[str, Any]:
        """Return the documents that are found, best first."""
        hits = self.index.search(query, self.top_k if top_k is None else top_k, threads=self.threads)
        return {"documents": [_document(hit) for hit in hits]}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, top_k: int | None = None) -> dict[str, Any]:
        """Return the same, and let other components run meanwhile."""
        return await asyncio.to_thread(self.run, query, top_k)


def _document(hit: Hit) -> Any:
    return Document(id=hit.docid, content=hit.text, meta={"docid": hit.docid, "title": hit.title}, score=hit.score)

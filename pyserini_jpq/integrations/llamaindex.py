"""LlamaIndex: a retriever over an index that keeps its texts.

Source: `llama_index.core.base.base_retriever` of llama-index-core 0.14.
"""

import asyncio
from pathlib import Path
from typing import Any

from pyserini_jpq.api import Hit, Index
from pyserini_jpq.integrations.common import needed, with_texts

with needed("llamaindex"):
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeWithScore, TextNode


class JPQRetriever(BaseRetriever):
    """Retrieve nodes from a JPQ index, as a LlamaIndex retriever.

    A node's id is its docid; its metadata hold `docid` and `title`.

    Parameters
    ----------
    index
        An opened index, its folder, or its name.
    similarity_top_k
        Number of nodes.
    threads
        Most threads to use.
    **options
        As in `BaseRetriever`.
    """

    def __init__(
        self, index: Index | str | Path, *, similarity_top_k: int = 10, threads: int = 1, **options: Any
    ) -> None:
        self.index = with_texts(index)
        self.similarity_top_k, self.threads = similarity_top_k, threads
        super().__init__(**options)

    def _retrieve(self, query_bundle: Any) -> list[Any]:
        hits = self.index.search(query_bundle.query_str, self.similarity_top_k, threads=self.threads)
        return [_node(hit) for hit in hits]

    async def _aretrieve(self, query_bundle: Any) -> list[Any]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(hit: Hit) -> Any:
    metadata = {"docid": hit.docid, "title": hit.title}
    return NodeWithScore(node=TextNode(id_=hit.docid, text=hit.text or "", metadata=metadata), score=hit.score)

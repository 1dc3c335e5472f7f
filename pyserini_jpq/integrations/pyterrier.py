"""PyTerrier: a retriever and an indexer, for pipelines and experiments.

Source: the transformers of PyTerrier 1.1 (https://pyterrier.readthedocs.io).
"""

from collections.abc import Iterable, Mapping
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.api import Hit, Index
from pyserini_jpq.integrations.common import as_index, needed, with_texts

with needed("pyterrier"):
    import pyterrier as pt


class JPQRetriever(pt.Transformer):
    """Retrieve from a JPQ index, as a PyTerrier transformer.

    A frame of `qid` and `query` becomes one of the same columns with `docno`, `score` and `rank`, `num_results` rows a
    query. With a column `query_vec`, [D] float32 a row, these vectors are searched for instead of the texts.

    Parameters
    ----------
    index
        An opened index, its folder, or its name.
    num_results
        Number of hits per query.
    texts
        Add the columns `title` and `text`, for what reranks; the index must keep texts.
    threads
        Most threads to use.
    """

    def __init__(
        self, index: Index | str | Path, *, num_results: int = 1000, texts: bool = False, threads: int = 1
    ) -> None:
        self.index = with_texts(index) if texts else as_index(index)
        self.num_results, self.texts, self.threads = num_results, texts, threads

    def transform(self, inp: Any) -> Any:
        """Return the hits of each query, best first."""
        found = self._found(inp)
        rows = [(row, rank, hit) for row, hits in enumerate(found) for rank, hit in enumerate(hits)]
        columns = {
            "docno": [hit.docid for _, _, hit in rows],
            "score": np.array([hit.score for _, _, hit in rows], dtype=np.float64),
            "rank": np.array([rank for _, rank, _ in rows], dtype=np.int64),
        }
        if self.texts:
            documents = [hit.document for _, _, hit in rows]
            columns |= {name: [getattr(document, name) for document in documents] for name in ("title", "text")}
        of_query = inp[pt.model.query_columns(inp)].iloc[[row for row, _, _ in rows]].reset_index(drop=True)
        return of_query.assign(**columns)

    def _found(self, inp: Any) -> list[list[Hit]]:
        with pt.validate.any(inp, context=self) as accepted:
            accepted.query_frame(extra_columns=["query_vec"], mode="vectors")
            accepted.query_frame(extra_columns=["query"], mode="texts")
        if not len(inp):  # PyTerrier asks with an empty frame for the columns that come out
            return []
        queries = np.stack(inp["query_vec"]) if accepted.mode == "vectors" else inp["query"].tolist()
        return self.index.batch_search(queries, self.num_results, threads=self.threads)

    def fuse_rank_cutoff(self, k: int) -> "JPQRetriever":
        """Return a retriever of at most k hits, as `retriever % k` compiles to."""
        if k >= self.num_results:
            return self
        return JPQRetriever(self.index, num_results=k, texts=self.texts, threads=self.threads)

    def __repr__(self) -> str:
        """Return the index and the number of hits."""
        return f"JPQRetriever({self.index.path}, num_results={self.num_results})"


class JPQIndexer(pt.Indexer):
    """Encode documents and write a JPQ index, as a PyTerrier indexer at the end of a pipeline.

    Parameters
    ----------
    path
        The index folder to write.
    encoder
        The name of a card, a folder, or a Hugging Face name.
    **options
        As in `Index.from_texts`: `m`, `bits`, `overwrite` and the others.
    """

    def __init__(self, path: str | Path, encoder: str | Path, **options: Any) -> None:
        self.path, self.encoder, self.options = path, encoder, options

    def index_inputs(self) -> list[list[str]]:
        """Return the columns that documents need."""
        return [["docno", "text"]]

    def index(self, documents: Iterable[Mapping[str, Any]], **options: Any) -> JPQRetriever:
        """Write the index of documents with `docno`, `text` and, if there is one, `title`; return its retriever.

        The documents are read once and never held in memory; the same call resumes an interrupted one.
        """
        ids, texts = tee(documents)
        index = Index.from_texts(
            (document["docno"] for document in ids),
            ({"title": document.get("title") or "", "text": document["text"]} for document in texts),
            encoder=self.encoder,
            path=self.path,
            **(self.options | options),
        )
        return JPQRetriever(index)

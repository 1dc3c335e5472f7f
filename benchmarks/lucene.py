"""Lucene's engines, through pyserini: a graph of vectors quantized to 8 bits, and BM25 over the texts."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import queries_for, vectors_of
from benchmarks.measure import Contender
from pyserini_jpq.compat import pyserini
from pyserini_jpq.compat.lucene_vectors import index_dense_vectors, open_vectors
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.errors import JPQError
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

_LINKS = 16
_CANDIDATES = 100
_BLOCK = 1 << 12


def lucene_hnsw(quantizer: ProductQuantizer, codes: Codes) -> Contender:
    """Return Lucene's HNSW index, quantized to 8 bits, over the decoded vectors.

    Raises
    ------
    InstallationError
        If Anserini cannot open it.
    """
    keep = tempfile.TemporaryDirectory()
    vectors, folder = Path(keep.name) / "vectors", Path(keep.name) / "index"
    vectors.mkdir()
    with open(vectors / "vectors.jsonl", "w", encoding="utf-8") as file:
        for start in range(0, len(codes), _BLOCK):
            for row, vector in enumerate(vectors_of(quantizer, codes[start : start + _BLOCK]), start):
                file.write(json.dumps({"docid": str(row), "vector": _rounded(vector)}) + "\n")
    index_dense_vectors(vectors, folder, links=_LINKS)
    searchers: dict[int, Any] = {_CANDIDATES: open_vectors(folder, ef_search=_CANDIDATES)}  # whether it can be

    def search(queries: Floats, k: int) -> tuple[Any, Any]:
        if k not in searchers:  # how far it looks is set on opening
            searchers[k] = open_vectors(folder, ef_search=max(k, _CANDIDATES))
        texts = [json.dumps(_rounded(vector)) for vector in queries_for(quantizer, queries)]
        return _results(searchers[k], texts, k)

    size = sum(file.stat().st_size for file in folder.iterdir()) / max(1, len(codes))
    return Contender("Lucene HNSW int8", search, size, keep=(keep,))


def bm25(corpus: Path, docids: Sequence[str]) -> Contender:
    """Return BM25 over a collection, with Lucene's defaults.

    Parameters
    ----------
    corpus
        The documents of the index, as texts.
    docids
        Of the index, in row order; documents that it does not hold are left out.

    Raises
    ------
    JPQError
        If the collection holds none of them.
    """
    keep = tempfile.TemporaryDirectory()
    rows = {docid: str(row) for row, docid in enumerate(docids)}
    kept = ((rows[d.docid], f"{d.title}\n{d.text}") for d in Collection(corpus) if d.docid in rows)
    searcher = pyserini.index_texts(kept, keep.name)
    count = searcher.num_docs
    if not count:
        raise JPQError(f"{corpus} holds none of the documents of the index; name the collection of the index")
    size = sum(file.stat().st_size for file in Path(keep.name).iterdir()) / count
    return Contender("BM25", lambda texts, k: _results(searcher, texts, k), size, of_text=True, keep=(keep,))


def _results(searcher: Any, texts: Sequence[str], k: int) -> tuple[Any, Any]:
    """Search with as many threads as faiss is set to; docids are the rows."""
    import faiss

    threads = faiss.omp_get_max_threads()
    if threads == 1:  # in this thread, whose time is measured
        hits = [searcher.search(text, k) for text in texts]
    else:
        qids = [str(number) for number in range(len(texts))]
        found = searcher.batch_search(list(texts), qids, k, threads)
        hits = [found[qid] for qid in qids]
    scores = [np.array([hit.score for hit in of_query], dtype=np.float32) for of_query in hits]
    return scores, [np.array([int(hit.docid) for hit in of_query], dtype=np.int64) for of_query in hits]


def _rounded(vector: Floats) -> list[float]:
    return [round(value, 6) for value in vector.tolist()]

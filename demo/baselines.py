"""The demo's baselines: BM25 by Lucene through pyserini, and the uncompressed embeddings."""

import tempfile
from pathlib import Path

import numpy as np

from pyserini_jpq import _pyserini
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.topics import read_topics

HITS = 1000


def bm25_run(documents: Path, topics: Path, output: Path) -> None:
    """Index a JSONL collection with Lucene's defaults, search it with BM25's, and write a run."""
    import json

    with tempfile.TemporaryDirectory() as folder:
        indexer = _pyserini.lucene_indexer()(folder, threads=2)
        with open(documents, encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                contents = f"{fields['title']}\n{fields['text']}"
                indexer.add_doc_dict({"id": fields["id"], "contents": contents})
        indexer.close()
        searcher = _pyserini.lucene_searcher()(folder)
        with _pyserini.output_writer(output, hits=HITS, tag="bm25") as writer:
            for qid, text in read_topics(str(topics)).items():
                writer.write(qid, searcher.search(text, HITS))


def flat_run(folder: Path, topics: Path, output: Path) -> None:
    """Rank all documents by the inner product of uncompressed embeddings, and write a run."""
    from pyserini_jpq.search.encoder import JPQQueryEncoder

    embeddings = Embeddings(folder)
    docids = list(embeddings.docids())
    queries = read_topics(str(topics))
    vectors = JPQQueryEncoder(embeddings.encoder["name"]).encode_batch(list(queries.values()))
    scores = np.concatenate([vectors @ block.T for block in embeddings.blocks(1 << 14)], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :HITS]
    hit = _pyserini.dense_search_result()
    with _pyserini.output_writer(output, hits=HITS, tag="flat") as writer:
        for qid, row, rows in zip(queries, scores, best, strict=True):
            writer.write(qid, [hit(docids[i], row[i]) for i in rows])

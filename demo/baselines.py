"""The demo's baseline: BM25 by Lucene through pyserini."""

import tempfile
from pathlib import Path

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.run_writer import RunWriter
from pyserini_jpq.data.topics import read_topics

HITS = 1000


def bm25_run(documents: Path, topics: Path, output: Path) -> None:
    """Index a JSONL collection with Lucene's defaults, search it with BM25's, and write a run."""
    import json

    with tempfile.TemporaryDirectory() as folder:
        indexer = pyserini.lucene_indexer()(folder, threads=2)
        with open(documents, encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                contents = f"{fields['title']}\n{fields['text']}"
                indexer.add_doc_dict({"id": fields["id"], "contents": contents})
        indexer.close()
        searcher = pyserini.lucene_searcher()(folder)
        with RunWriter(output, hits=HITS, tag="bm25") as writer:
            for qid, text in read_topics(str(topics)).items():
                writer.write(qid, searcher.search(text, HITS))

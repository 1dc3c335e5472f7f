"""The demo's baseline: BM25 by Lucene through pyserini."""

import tempfile
from pathlib import Path

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.collection import Collection
from pyserini_jpq.data.run_writer import RunWriter
from pyserini_jpq.data.topics import read_topics

HITS = 1000


def bm25_run(documents: Path, topics: Path, output: Path) -> None:
    """Index a JSONL collection with Lucene's defaults, search it with BM25's, and write a run."""
    with tempfile.TemporaryDirectory() as folder:
        contents = ((document.docid, f"{document.title}\n{document.text}") for document in Collection(documents))
        searcher = pyserini.index_texts(contents, folder, threads=2)
        with RunWriter(output, hits=HITS, tag="bm25") as writer:
            for qid, text in read_topics(str(topics)).items():
                writer.write(qid, searcher.search(text, HITS))

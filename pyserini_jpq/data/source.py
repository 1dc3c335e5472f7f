"""Collections, topics and qrels are files, or names that a card, ir_datasets or, for the last two, Pyserini knows."""

import os
from pathlib import Path

from pyserini_jpq.data.collection import Collection
from pyserini_jpq.data.ir_datasets import IRDatasetsCollection, is_ir_datasets
from pyserini_jpq.errors import TopicsError

TSV = (".tsv", ".txt", ".tsv.gz", ".txt.gz")
JSONL = (".jsonl", ".jsonl.gz")
_FILE_ENDINGS = (*TSV, *JSONL, ".json", ".trec", ".xml", ".qrels", ".csv", ".gz")


def looks_like_path(source: str) -> bool:
    """Tell whether a text is meant as a file, not as a name that Pyserini knows."""
    if is_ir_datasets(source):
        return False
    return "/" in source or os.sep in source or source.lower().endswith(_FILE_ENDINGS)


def file_by_card(source: str, what: str) -> str:
    """Return the file that a collection's card has under this name, fetched if need be; else the source itself."""
    from pyserini_jpq.download.collection import find_topics

    if os.path.exists(source) or looks_like_path(source):
        return source
    return str(find_topics(what, source) or source)


def is_file(source: str, what: str) -> bool:
    """Tell whether topics or qrels are a file; refuse what is neither a file nor could be a name."""
    if os.path.exists(source) and not os.path.isdir(source):
        return True
    if looks_like_path(source):
        problem = "is a folder" if os.path.isdir(source) else "does not exist"
        raise TopicsError(f"{source} {problem}; expected a file of {what}, or the name of {what} that Pyserini knows")
    return False


def open_collection(source: str | Path, skip_empty: bool = False) -> Collection:
    """Open a collection by its path or its name; a named one is fetched if need be."""
    from pyserini_jpq.download.collection import find_corpus

    if is_ir_datasets(source):
        return IRDatasetsCollection(source, skip_empty)
    return Collection(find_corpus(source), skip_empty)

"""Names of run files, as in Pyserini's reproduction pages."""

import re
from pathlib import Path

from pyserini_jpq.paths import RUNS

_TASKS = ("-passage", "-doc")


def default_run(index: str, topics: str) -> Path:
    """Return the default path of a run, such as `runs/run.msmarco-passage.jpq-m96.dev.txt`.

    Parameters
    ----------
    index
        Name of the index folder, `COLLECTION.CONDITION`.
    topics
        A file or a name; its part that repeats the collection's name is left out.
    """
    collection, dot, condition = index.rpartition(".")
    if not dot:
        return RUNS / f"run.{index}.{_stem(topics)}.txt"
    collection = collection.replace("msmarco-v1-", "msmarco-")
    return RUNS / f"run.{collection}.{condition}.{_short(_stem(topics), collection)}.txt"


def _short(topics: str, collection: str) -> str:
    """Return `dev` for `msmarco-passage-dev` on msmarco-passage, `dl19` for `dl19-passage`."""
    for name in (collection, collection.replace("msmarco-", "msmarco-v1-")):
        for separator in "-.":
            if topics.startswith(name + separator):
                return topics.removeprefix(name + separator)
    for task in _TASKS:
        if collection.endswith(task):
            return topics.removesuffix(task)
    return topics


def _stem(topics: str) -> str:
    return re.sub(r"(\.tsv|\.jsonl|\.txt)?(\.gz)?$", "", Path(topics).name, flags=re.IGNORECASE)

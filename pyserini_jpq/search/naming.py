"""The names of run files, as Pyserini's pages write them."""

import re
from pathlib import Path

from pyserini_jpq.paths import RUNS

_TASKS = ("-passage", "-doc")


def default_run(index: str, topics: str) -> Path:
    """Return where a run goes if nobody says: `runs/run.msmarco-passage.jpq-m96.dev.txt`.

    Parameters
    ----------
    index
        The name of the index folder, `COLLECTION.CONDITION`.
    topics
        A file or a name; what it shares with the collection is not said twice.
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

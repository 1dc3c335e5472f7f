"""Run files: their names, as Pyserini's pages write them, and the order of their hits."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

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
    name = Path(topics).name.removesuffix(".gz")
    return name.rpartition(".")[0] if name.endswith((".tsv", ".jsonl", ".txt")) else name


def in_trec_order(hits: Iterable[Any]) -> list[Any]:
    """Order hits as trec_eval does: by score as it is written, as a 32-bit float; equal ones by docid, last first.

    So a run is evaluated alike by its scores and by its ranks, which is all that MS MARCO's scripts see.
    """
    return sorted(hits, key=lambda hit: (np.float32(f"{hit.score:.6f}"), hit.docid.encode()), reverse=True)

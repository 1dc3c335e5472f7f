"""Training as a function that returns the opened index."""

from pathlib import Path
from typing import Any

from pyserini_jpq.api.index import Index


def train(index: str | Path | Index, *args: Any, **options: Any) -> Index:
    """Train the query encoder and the centroids of an index together, and return the new index.

    Parameters
    ----------
    index
        An index, its folder or its name.
    *args, **options
        Arguments of `pyserini_jpq.train.run.train`: topics, qrels, output, options and the rest.

    Examples
    --------
    >>> import pyserini_jpq as jpq
    >>> topics, qrels = {"q1": TEXTS[3], "q2": TEXTS[5]}, {"q1": {IDS[3]: 1}, "q2": {IDS[5]: 1}}
    >>> trained = jpq.train(INDEX, topics, qrels, FOLDER / "notes.jpq", options=jpq.TrainOptions(epochs=1))
    >>> trained.manifest.training["queries"]
    2
    """
    from pyserini_jpq.train.run import train as trained

    return Index(trained(index.path if isinstance(index, Index) else index, *args, **options))

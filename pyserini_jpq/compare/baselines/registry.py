"""All baselines by name."""

from pyserini_jpq.compare.baselines import additive, annoy, binary, dpq, faiss, hnswlib, scann
from pyserini_jpq.compare.baselines.base import Engine
from pyserini_jpq.compare.rows import FLAT
from pyserini_jpq.errors import JPQError

_ORDER = (
    *(FLAT, "pq", "opq", "rq", "lsq", "dpq", "lsh", "itq-lsh", "scann", "opq-scann"),
    *("rabitq", "rabitq-whole", "turboquant", "binary", "int8"),
    *("imi", "ivf-opq", "hnsw", "hnsw-opq", "hnswlib", "annoy", "scann-tree"),
)
_FOUND = {e.name: e for module in (faiss, additive, dpq, scann, binary, hnswlib, annoy) for e in module.ENGINES}

ENGINES: dict[str, Engine] = {name: _FOUND[name] for name in _ORDER}

UNMAINTAINED = {
    "flann": ("FLANN", "no maintained package: pyflann does not import on Python 3, and pyflann-py3 had one release"),
    "falconn": ("FALCONN", "no maintained package: FALCONN 1.3.1, the last release, did not compile on Python 3.11"),
}
"""Baselines of the paper that cannot be measured: title and reason."""


def named_baselines(text: str) -> tuple[str, ...]:
    """Return the names in a text (`all`, `none` or `name,name`), with the uncompressed engine first.

    Raises
    ------
    JPQError
        If one is unknown.
    """
    every = [*ENGINES, *UNMAINTAINED]
    names = {"all": every, "none": []}.get(text, [name.strip() for name in text.split(",")])
    unknown = [name for name in names if name not in every]
    if unknown:
        raise JPQError(f"no baseline is named {', '.join(unknown)}; there are {', '.join(every)}, all and none")
    return tuple(dict.fromkeys([FLAT, *names]))

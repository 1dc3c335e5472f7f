"""Default paths: the folders of a project, the cache, the name of an index."""

import os
from pathlib import Path

COLLECTIONS = Path("collections")
DOWNLOADS = Path("downloads")
EMBEDDINGS = Path("embeddings")
ENCODERS = Path("encoders")
INDEXES = Path("indexes")
RUNS = Path("runs")

CACHE_VARIABLE = "PYSERINI_JPQ_CACHE"
"""Environment variable for the cache folder, by default `~/.cache/pyserini_jpq`."""


def cache_folder() -> Path:
    """Return the cache folder, for exported encoders and the like."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "pyserini_jpq")


def jpq_name(name: str) -> str:
    """Return the name of the index that is trained from another: `X.jpq-m24` for `X.opq-m24`."""
    return name.replace(".opq", ".jpq") if ".opq" in name else f"{name}.jpq"

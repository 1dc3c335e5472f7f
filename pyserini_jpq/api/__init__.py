"""The Python API: the index, and training that returns one."""

from pyserini_jpq.api.index import Index
from pyserini_jpq.api.training import train
from pyserini_jpq.search.hits import Hit

__all__ = ["Hit", "Index", "train"]

"""Train query encoder and centroids together, with negatives from the index in training.

The module is callable: `pyserini_jpq.train(...)` is `api.train`, which returns the new index opened.
"""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "api", "train")

"""Training: query encoder and centroids together, against the index that is being trained.

Called as a function, the room is `pyserini_jpq.api.train`: `train.run.train`, whose index is returned opened.
"""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "api", "train")

"""Training: query encoder and centroids together, against the index that is being trained."""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "run", "train")

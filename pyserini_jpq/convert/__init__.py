"""Converting indexes and encoders from and to other formats: that of the authors of JPQ, and plain faiss."""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "convert.run", "convert")

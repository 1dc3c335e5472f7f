"""From text to vectors: the encoder, its backends, and the folder of embeddings."""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "encode.run", "encode")

"""Search: the query encoder and the searcher that Pyserini knows how to use, and the command that writes runs."""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "search.run", "search")

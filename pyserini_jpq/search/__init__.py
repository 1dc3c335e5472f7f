"""Search: engines, the query encoder and searcher for Pyserini, and the command that writes runs."""

from pyserini_jpq.callable_module import make_callable

make_callable(__name__, "search.run", "search")

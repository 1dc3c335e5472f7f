"""JPQ for Pyserini: dense retrieval at a few bytes a document, the query encoder trained together with the index.

Importing this package starts no JVM and imports no torch; the two classes below are loaded when they are first used.
"""

from typing import TYPE_CHECKING, Any

from pyserini_jpq.compat.hook import install_import_hook

if TYPE_CHECKING:
    from pyserini_jpq.search.encoder import JPQQueryEncoder
    from pyserini_jpq.search.searcher import JPQFaissSearcher

__all__ = ["JPQFaissSearcher", "JPQQueryEncoder"]
__version__ = "0.1.0"

install_import_hook()


def __getattr__(name: str) -> Any:
    if name == "JPQQueryEncoder":
        from pyserini_jpq.search.encoder import JPQQueryEncoder

        return JPQQueryEncoder
    if name == "JPQFaissSearcher":
        from pyserini_jpq.search.searcher import JPQFaissSearcher

        return JPQFaissSearcher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

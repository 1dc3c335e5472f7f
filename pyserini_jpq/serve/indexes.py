"""Open indexes by name: what REST, the search page and MCP are doors to.

It knows no protocol and imports no web framework:

    with Indexes({"notes": "indexes/notes"}) as indexes:
        indexes.about()                              # a list of dicts: name, documents, methods, texts, ...
        for found in indexes.search("notes", "how do I ...", hits=10):
            found.docid, found.score, found.rank     # and found.document: title, text, shown(); None without texts
        indexes.document("notes", "d7").text

`search` blocks; a server on asyncio takes the future of `indexes["notes"].submit(...)`. Both raise RequestError for
what a caller can mend, with a message that may be shown.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from pyserini_jpq.cluster import Cluster
from pyserini_jpq.errors import JPQError
from pyserini_jpq.serve.documents import Stored
from pyserini_jpq.serve.errors import LateError, RequestError
from pyserini_jpq.serve.options import IndexOptions
from pyserini_jpq.serve.served import Found, Served

_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_POLL = 0.5
"""Seconds between two looks at the folders; the new version is searched after them and the time to open it."""


class Indexes:
    """Indexes that are open under names; their folders are watched until `close`.

    Parameters
    ----------
    paths
        Index folders, or names of some under `indexes/`, by the name in requests.
    options
        How they are opened, and the limits of a request.
    lucene
        Folders of Lucene indexes of the same documents, by the same names.
    observe
        Called with name, method and number of queries of each search.
    cluster
        A Ray cluster that searches their shards; queries are encoded here.

    Raises
    ------
    JPQError
        If a name cannot stand in an address, or an index cannot be opened.
    """

    def __init__(
        self,
        paths: Mapping[str, str | Path],
        options: IndexOptions | None = None,
        lucene: Mapping[str, Path] | None = None,
        observe: Callable[[str, str, int], None] = lambda name, method, count: None,
        cluster: Cluster | None = None,
    ) -> None:
        self.options = IndexOptions.of(options)
        lucene = lucene or {}
        _check_names(paths, lucene)
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._served: dict[str, Served] = {}
        with ExitStack() as opened:
            for name, path in paths.items():

                def searched(method: str, count: int, name: str = name) -> None:
                    observe(name, method, count)

                self._served[name] = Served(name, path, self.options, lucene.get(name), searched, cluster)
                opened.callback(self._served[name].close)
            self._stack = opened.pop_all()
        self._watch = threading.Thread(target=self._refresh, name="watch", daemon=True)
        self._watch.start()

    def __getitem__(self, name: str) -> Served:
        """Return an index; raise RequestError for an unknown name."""
        try:
            return self._served[name]
        except KeyError:
            raise RequestError(f"no index is named {name}; there are {', '.join(self._served)}") from None

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order given."""
        return iter(self._served)

    def __len__(self) -> int:
        """Return the number of indexes."""
        return len(self._served)

    def about(self) -> list[dict[str, Any]]:
        """Return what a client may know of each index."""
        return [served.about() for served in self._served.values()]

    def search(self, name: str, query: str, hits: int = 10, method: str = "jpq") -> list[Found]:
        """Search an index for a text, and wait for the hits.

        Parameters
        ----------
        name
            Name of the index.
        query
            The text.
        hits, method
            As in `Served.submit`.

        Returns
        -------
        list of Found
            The hits, best first, with their documents where these are stored.

        Raises
        ------
        RequestError
            If the request is wrong, too many wait, or the answer takes too long.
        """
        served = self[name]
        answer = served.submit([query], hits, method)
        try:
            return answer.result(self.options.seconds)[0]
        except TimeoutError:
            answer.cancel()
            raise LateError(
                f"no answer within {self.options.seconds:g} seconds; send this request again soon"
            ) from None

    def document(self, name: str, docid: str) -> Stored:
        """Return a document of an index; raise MissingError if there is none."""
        return self[name].document(docid)

    def close(self) -> None:
        """Answer what waits, then end all threads."""
        self._stop.set()
        self._watch.join()
        self._stack.close()

    def __enter__(self) -> Self:
        """Return the indexes, to be closed at the end."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close them."""
        self.close()

    def _refresh(self) -> None:
        while not self._stop.wait(_POLL):
            for served in self._served.values():
                served.refresh()


def _check_names(paths: Mapping[str, Any], lucene: Mapping[str, Any]) -> None:
    if not paths:
        raise JPQError("no index to serve; give one at least")
    if wrong := [name for name in paths if not _NAME.fullmatch(name)]:
        raise JPQError(
            f"an index cannot be named {wrong[0]!r}; take letters, digits, '_', '.' and '-', as in NAME=INDEX"
        )
    if strangers := [name for name in lucene if name not in paths]:
        raise JPQError(f"--lucene {strangers[0]}: no index has this name; the names are {', '.join(paths)}")

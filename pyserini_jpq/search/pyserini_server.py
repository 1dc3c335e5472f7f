"""The searcher under the servers of Pyserini 2, which read documents from a `LuceneSearcher` only."""

from collections.abc import Sequence
from typing import Any

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.collection import Document
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.texts import texts_of
from pyserini_jpq.search.searcher import JPQFaissSearcher

_LuceneSearcher: Any = pyserini.lucene_searcher()


class _Stored:
    """A document as the servers read it from Lucene."""

    def __init__(self, document: Document) -> None:
        self._raw = document.as_json()

    def raw(self) -> str:
        """Return the document as JSON."""
        return self._raw


class ServedSearcher(JPQFaissSearcher, _LuceneSearcher):  # type: ignore[misc]
    """A `JPQFaissSearcher` that hands out the documents of its index's own texts, in place of a Lucene index."""

    def __init__(self, index_dir: str, query_encoder: str | None) -> None:
        JPQFaissSearcher.__init__(self, index_dir, query_encoder)
        self._texts = texts_of(self.folder)

    def batch_doc(self, docids: Sequence[str], threads: int) -> dict[str, Any]:
        """Return the documents that there are, by docid."""
        documents = ((docid, self._texts.get(docid)) for docid in docids) if self._texts is not None else ()
        return {docid: _Stored(document) for docid, document in documents if document is not None}

    def close(self) -> None:
        """Nothing is to be closed: the index is mapped into memory."""


def opened(path: str, encoder: str | None, has_base: bool, needs_texts: bool) -> Any:
    """Open an index for a server.

    Parameters
    ----------
    path
        The index folder.
    encoder
        A card, a folder or a Hugging Face name, of the weights that the index was made with; by default its own.
    has_base
        Whether a Lucene index holds the texts.
    needs_texts
        Raise if there are none; else it ranks without.

    Raises
    ------
    EncoderError
        If the encoder is another one.
    IndexFolderError
        If the index cannot be opened, or there are no texts to show.
    """
    if has_base:
        return JPQFaissSearcher(path, encoder or None)
    searcher = ServedSearcher(path, encoder or None)
    if searcher._texts is None and needs_texts:
        raise IndexFolderError(
            "it keeps no texts: give a `base_index` of Lucene, or keep them by "
            f"`python -m pyserini_jpq.index --index {path} --texts CORPUS`"
        )
    return searcher

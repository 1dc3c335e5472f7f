"""The constructors of an index from texts or embeddings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from pyserini_jpq.data.collection import Collection
from pyserini_jpq.data.documents import Text, documents_of, spooled
from pyserini_jpq.encode.arrays import write_embeddings
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.options import EncodeOptions, EncoderChanges
from pyserini_jpq.encode.run import encode
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import refuse_existing, remove
from pyserini_jpq.index.manifest import MANIFEST
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.run import build_index
from pyserini_jpq.locks import exclusive
from pyserini_jpq.quantizer import Floats


class Building:
    """The constructors of `Index` that build one."""

    def __init__(self, path: str | Path) -> None:
        """Open an index; see `Index`."""

    @classmethod
    def from_texts(
        cls,
        ids: Iterable[Any],
        texts: Iterable[Text],
        *,
        encoder: str | Path,
        path: str | Path,
        m: int = 96,
        bits: int = 8,
        options: IndexOptions | None = None,
        encode_options: EncodeOptions | None = None,
        changes: EncoderChanges | None = None,
        keep_texts: bool = True,
        keep_embeddings: bool = True,
        overwrite: bool = False,
    ) -> Self:
        """Encode texts, train a quantizer and write the index; the same call resumes an interrupted one.

        Parameters
        ----------
        ids
            Docids, as text or whole numbers; an iterator is read once.
        texts
            As many texts, or mappings with `title` and `text`; an iterator is read once and never held in memory.
        encoder
            The name of a card, a folder, or a Hugging Face name.
        path
            The index folder to write.
        m, bits
            Number of subspaces M and bits per code; a document takes M * bits / 8 bytes. M divides D.
        options
            All options of the index, instead of `m` and `bits`.
        encode_options, changes
            Options of the encoding, and the description of an encoder without a card.
        keep_texts
            Keep titles and texts in the index; they take about their own size.
        keep_embeddings
            Keep the uncompressed embeddings, 4 D bytes per document, in `PATH.embeddings`: they improve training.
        overwrite
            Replace an existing index.

        Returns
        -------
        Index
            The opened index.

        Raises
        ------
        JPQError
            If ids or texts cannot be used, the encoder cannot be loaded, or M does not divide D.
        """
        path = Path(path)
        refuse_existing(path, overwrite, MANIFEST)  # before hours go into encoding
        embeddings = path.with_name(f"{path.name}.embeddings")
        with exclusive(path), spooled(documents_of(ids, texts), path) as corpus:
            if overwrite or not _encoded(embeddings, corpus):
                encode(corpus, encoder, embeddings, options=encode_options, changes=changes, overwrite=overwrite)
            build_index(
                embeddings,
                path,
                options=IndexOptions.of(options, m=m, bits=bits),
                texts=corpus if keep_texts else None,
                overwrite=overwrite,
            )
            if not keep_embeddings:
                remove(embeddings)
        return cls(path)

    @classmethod
    def from_embeddings(
        cls,
        embeddings: str | Path | Embeddings | Floats,
        *,
        path: str | Path,
        ids: Iterable[Any] | None = None,
        encoder: str | Path | None = None,
        m: int = 96,
        bits: int = 8,
        options: IndexOptions | None = None,
        texts: str | Path | Collection | None = None,
        overwrite: bool = False,
    ) -> Self:
        """Train a quantizer on embeddings and write the index.

        Parameters
        ----------
        embeddings
            A folder of `encode`, or vectors [N, D] as an array, a tensor or a list, which are written to
            `PATH.embeddings` first.
        path
            The index folder to write.
        ids
            Docids of an array's rows; by default the row numbers.
        encoder
            The encoder of an array's vectors; without it only vectors can be searched for.
        m, bits, options, texts, overwrite
            As in `build_index` and `from_texts`.

        Returns
        -------
        Index
            The opened index.
        """
        path = Path(path)
        refuse_existing(path, overwrite, MANIFEST)
        with exclusive(path):
            if not isinstance(embeddings, str | Path | Embeddings):
                folder = path.with_name(f"{path.name}.embeddings")
                vectors = np.asarray(embeddings)
                embeddings = write_embeddings(vectors, ids, folder, encoder, overwrite=overwrite)
            elif ids is not None or encoder is not None:
                raise JPQError("a folder of embeddings knows its docids and its encoder; leave `ids` and `encoder` out")
            options = IndexOptions.of(options, m=m, bits=bits)
            build_index(embeddings, path, options=options, texts=texts, overwrite=overwrite)
        return cls(path)


def _encoded(folder: Path, corpus: Path) -> bool:
    """Return whether a folder holds the complete embeddings of exactly these documents."""
    try:
        embeddings = Embeddings(folder)
    except JPQError:
        return False
    return bool(embeddings.manifest.get("collection_sha256") == Collection(corpus).scan().sha256)

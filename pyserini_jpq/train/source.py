"""The index that training starts from, in memory, as another command may change its folder meanwhile."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.index.faiss_format import pack, quantizer_of, stored_codes, unpack
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import Manifest
from pyserini_jpq.index.opening import opened
from pyserini_jpq.index.texts import Texts, texts_of
from pyserini_jpq.index.vectors import Vectors, vectors_of
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer


@dataclass(frozen=True)
class SourceIndex:
    """The content of an index folder that training and its output need.

    Attributes
    ----------
    folder
        The folder, with its manifest as read.
    docids
        [N] external ids, in row order.
    quantizer
        Rotation, centroids and biases.
    stored
        The codes as faiss stores them, [N, bytes of a document] uint8.
    initial_centroids
        [M, K, D/M] float32, those by which the codes were assigned.
    document_map
        What takes documents' vectors to the centroids, [D, D] float32; None if the rotation does.
    query_encoder
        The query encoder that the document side was trained with; None for that of the folder.
    encoded
        The documents' vectors by a document encoder of this training; None for that of the folder.
    texts
        The documents' texts, where the index keeps them.
    vectors
        The documents' vectors, where the index keeps them.
    mapped
        The faiss index that `stored` is a view into, if it is one.
    """

    folder: IndexFolder
    docids: Sequence[str]
    quantizer: ProductQuantizer
    stored: Codes
    initial_centroids: Floats
    document_map: Floats | None = None
    query_encoder: EncoderSource | None = None
    encoded: Embeddings | None = None
    texts: Texts | None = None
    vectors: Vectors | None = None
    mapped: Any = None

    @property
    def manifest(self) -> Manifest:
        """The manifest as it was read."""
        return self.folder.manifest

    @property
    def codes(self) -> Codes:
        """The codes of all documents, [N, M] uint8."""
        return unpack(self.stored, self.quantizer.m, self.quantizer.bits)

    def codes_of(self, rows: range) -> Codes:
        """Return the codes of consecutive documents, [n, M] uint8."""
        return unpack(self.stored[rows.start : rows.stop], self.quantizer.m, self.quantizer.bits)

    def coded_anew(self, codes: Codes, **changes: Any) -> "SourceIndex":
        """Return the index with other codes of its documents, [N, M] uint8, and other changes."""
        return dataclasses.replace(self, stored=pack(codes, self.manifest.bits), mapped=None, **changes)


def read_source(path: Path, mapped: bool = False) -> SourceIndex:
    """Read one version of an index: if another command changes it meanwhile, read it again.

    Parameters
    ----------
    path
        The index folder.
    mapped
        Map codes into memory, which several processes share, in place of reading them; as an index is changed by
        writing a new file, they stay those of this version.

    Raises
    ------
    IndexFolderError
        If it is not an index folder, or one of its files is missing, damaged or of another index.
    """
    return opened(path, lambda folder: _read(folder, mapped))


def _read(folder: IndexFolder, mapped: bool) -> SourceIndex:
    whole = folder.read(mapped)
    quantizer, stored = quantizer_of(whole, folder.path), stored_codes(whole, folder.path)
    # A view into the faiss index would dangle when that index is freed.
    kept, whole = (stored, whole) if mapped else (stored.copy(), None)
    assignment, beside = (folder.initial_centroids(), folder.document_map()), (texts_of(folder), vectors_of(folder))
    return SourceIndex(folder, folder.docids(), quantizer, kept, *assignment, None, None, *beside, whole)

"""The index that training starts from, in memory, as another command may change its folder meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.source import EncoderSource
from pyserini_jpq.index.faiss_format import from_faiss
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
    codes
        [N, M] uint8.
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
    """

    folder: IndexFolder
    docids: Sequence[str]
    quantizer: ProductQuantizer
    codes: Codes
    initial_centroids: Floats
    document_map: Floats | None = None
    query_encoder: EncoderSource | None = None
    encoded: Embeddings | None = None
    texts: Texts | None = None
    vectors: Vectors | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest as it was read."""
        return self.folder.manifest


def read_source(path: Path) -> SourceIndex:
    """Read one version of an index: if another command changes it meanwhile, read it again.

    Raises
    ------
    IndexFolderError
        If it is not an index folder, or one of its files is missing, damaged or of another index.
    """
    return opened(path, _read)


def _read(folder: IndexFolder) -> SourceIndex:
    whole = folder.read()
    quantizer, codes = from_faiss(whole, folder.path)
    # A view into the faiss index would dangle when that index is freed.
    kept = texts_of(folder), vectors_of(folder)
    assignment = folder.initial_centroids(), folder.document_map()
    return SourceIndex(folder, folder.docids(), quantizer, codes.copy(), *assignment, None, None, *kept)

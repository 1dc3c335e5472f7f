"""The index that training starts from, in memory: another command may change or replace its folder meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import Manifest
from pyserini_jpq.index.opening import opened
from pyserini_jpq.index.texts import Texts, texts_of
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer


@dataclass(frozen=True)
class SourceIndex:
    """All that training and its output take from an index folder.

    Attributes
    ----------
    folder
        Where it lay, and what its manifest said when it was read.
    docids
        [N] external ids, in row order.
    quantizer
        Rotation, centroids and biases.
    codes
        [N, M] uint8.
    initial_centroids
        [M, K, D/M] float32, with which the codes were assigned.
    texts
        The documents' texts, where the index keeps them.
    """

    folder: IndexFolder
    docids: Sequence[str]
    quantizer: ProductQuantizer
    codes: Codes
    initial_centroids: Floats
    texts: Texts | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest as it was read."""
        return self.folder.manifest


def read_source(path: Path) -> SourceIndex:
    """Read an index; once more where another command changed it meanwhile, so that all is of one version.

    Raises
    ------
    IndexFolderError
        If it is no index folder, or a file of it is missing, damaged or of another index.
    """
    return opened(path, _read)


def _read(folder: IndexFolder) -> SourceIndex:
    whole = folder.read()
    quantizer, codes = from_faiss(whole, folder.path)
    # A copy: codes that are a view into a faiss index are gone with it.
    return SourceIndex(folder, folder.docids(), quantizer, codes.copy(), folder.initial_centroids(), texts_of(folder))

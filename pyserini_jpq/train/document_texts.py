"""Documents whose encoder is trained: their texts, encoded with gradients, a part at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pyserini_jpq.data.collection import Document
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.files import beside
from pyserini_jpq.index.manifest import TEXTS
from pyserini_jpq.index.texts import Texts, documents_for, write_texts
from pyserini_jpq.train.source import SourceIndex

_BATCH = 32


class EncodedTexts(nn.Module):
    """Texts under a document encoder that is trained.

    Memory holds the activations of one part of the texts: they are computed again for the gradients, as by the gradient
    cache that RepCONC uses (Gao et al., RepL4NLP 2021).

    Parameters
    ----------
    encoder
        The document encoder; where it is the query encoder, too, both are the same object.
    texts
        Returns the texts of rows of the index.
    rotation
        [D, D] float32, applied to the vectors.
    dtype
        What the encoder computes in.
    """

    rotation: torch.Tensor

    def __init__(
        self,
        encoder: Encoder,
        texts: Callable[[Sequence[int]], list[str]],
        rotation: torch.Tensor,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self._texts, self._dtype = texts, dtype
        self.register_buffer("rotation", rotation, persistent=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rotated vectors of rows, [n] int64 to [n, D] float32, with gradients to the encoder."""
        tokens = self.encoder.tokenize(self._texts(rows.tolist()), self.encoder.card.document)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        parts = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        vectors = torch.cat([self._encoded([tokens[i] for i in part]) for part in parts])
        back = torch.empty(len(order), dtype=torch.int64)
        back[torch.tensor(order)] = torch.arange(len(order))
        return vectors[back.to(vectors.device)] @ self.rotation.T

    def _encoded(self, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        ids, mask = self.encoder.pad(tokens)
        device = ids.device.type

        def encode(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            with torch.autocast(device, self._dtype, enabled=self._dtype != torch.float32):
                vectors: torch.Tensor = self.encoder(ids, mask)
            return vectors.float()

        if not torch.is_grad_enabled():
            return encode(ids, mask)
        vectors: torch.Tensor = checkpoint(encode, ids, mask, use_reentrant=False)
        return vectors


def texts_for(source: SourceIndex, corpus: str | Path | None, folder: Path) -> Texts:
    """Return the texts of an index's documents: those that it keeps, else those of a collection, kept in a folder.

    Raises
    ------
    TrainingError
        If there are none.
    CollectionError
        If the collection lacks a document of the index.
    """
    if corpus is None and source.texts is not None:
        return source.texts
    if corpus is None:
        raise TrainingError(
            f"{source.folder.path} keeps no texts, which the document encoder is trained with: give the collection "
            "with --corpus, or train a map of the vectors (--train-documents linear)"
        )
    if not (path := folder / TEXTS).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with beside(path) as partial:
            write_texts(partial, documents_for(source.docids, corpus))
            partial.rename(path)
    return Texts([path])


def rendered(texts: Texts, docids: Sequence[str], template: str) -> Callable[[Sequence[int]], list[str]]:
    """Return a function from rows to texts as the encoder reads them."""

    def of(rows: Sequence[int]) -> list[str]:
        documents: list[Document] = [texts[docids[row]] for row in rows]
        return [document.render(template) for document in documents]

    return of

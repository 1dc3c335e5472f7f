"""The model: query encoder, centroids and biases are trained; rotation and codes are fixed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.quantizer import Codes, ProductQuantizer
from pyserini_jpq.scan.blocks import lookup_tables
from pyserini_jpq.train.spread import Part


class JPQModel(nn.Module):
    """A query encoder and a product quantizer that score documents as the index does.

    Parameters
    ----------
    encoder
        The query encoder.
    quantizer
        Rotation and centroids. Without biases these start at 0.
    codes
        [N, M] uint8; only those of a step's candidates are widened. Copied if they are a view.
    part
        The documents that these codes are of, where other processes hold the others; None for all.
    """

    rotation: torch.Tensor
    codes: torch.Tensor

    def __init__(self, encoder: Encoder, quantizer: ProductQuantizer, codes: Codes, part: Part | None = None) -> None:
        super().__init__()
        self.encoder, self.part = encoder, part
        self.centroids = nn.Parameter(torch.from_numpy(quantizer.centroids.copy()))
        self.register_buffer("rotation", torch.from_numpy(quantizer.rotation), persistent=False)
        biases = np.zeros(quantizer.centroids.shape[:2], np.float32) if quantizer.biases is None else quantizer.biases
        self.biases = nn.Parameter(torch.from_numpy(biases.copy()))
        # A view into a faiss index would dangle when that index is freed.
        own = codes if codes.flags.owndata else codes.copy()
        self.register_buffer("codes", torch.from_numpy(own), persistent=False)

    @property
    def additive(self) -> bool:
        """Whether codes are additive."""
        return self.centroids.shape[0] * self.centroids.shape[2] > self.rotation.shape[0]

    @property
    def documents(self) -> int:
        """Number of documents of the index."""
        return len(self.codes) if self.part is None else self.part.documents

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode queries into the rotated space, to [B, D] float32."""
        return self.encoder.encode_queries(texts) @ self.rotation.T

    def score(self, rotated_queries: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Return the index's scores by lookup table, with gradients to queries, centroids and biases.

        Parameters
        ----------
        rotated_queries
            [B, D] float32.
        offsets
            [B, C] int64, rows of the documents of each query.

        Returns
        -------
        torch.Tensor
            [B, C] float32.
        """
        codes = self.codes_of(offsets).long().transpose(1, 2)
        return self.tables(rotated_queries).gather(2, codes).sum(dim=1)

    def codes_of(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the codes of documents, int64 of any shape to [*rows.shape, M] uint8."""
        return self.codes[rows] if self.part is None else self.part.codes(self.codes, rows)

    def tables(self, rotated_queries: torch.Tensor) -> torch.Tensor:
        """Return the lookup tables of rotated queries, [B, D] to [B, M, K] float32."""
        return lookup_tables(rotated_queries, self.centroids) + self.biases

    def quantizer(self) -> ProductQuantizer:
        """Return rotation, centroids and biases as NumPy arrays; no biases where all are 0."""
        centroids = self.centroids.detach().cpu().numpy().copy()
        biases = self.biases.detach().cpu().numpy().copy()
        rotation = np.ascontiguousarray(self.rotation.cpu().numpy())
        return ProductQuantizer(rotation, centroids, biases if biases.any() else None)

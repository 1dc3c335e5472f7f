"""What is trained: the query encoder and the centroids; what is not: the rotation and the codes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pyserini_jpq.encode.tower import Tower
from pyserini_jpq.quantizer import Codes, ProductQuantizer


class JPQModel(nn.Module):
    """A query encoder and a product quantizer that score documents as the index does.

    Parameters
    ----------
    tower
        The query encoder.
    quantizer
        Rotation and centroids, as OPQ made them.
    codes
        [N, M] uint8; copied, and never widened but for the candidates of a step.
    """

    rotation: torch.Tensor
    codes: torch.Tensor

    def __init__(self, tower: Tower, quantizer: ProductQuantizer, codes: Codes) -> None:
        super().__init__()
        self.tower = tower
        self.centroids = nn.Parameter(torch.from_numpy(quantizer.centroids.copy()))
        self.register_buffer("rotation", torch.from_numpy(quantizer.rotation), persistent=False)
        # A copy: codes that are a view into a faiss index are gone with it.
        self.register_buffer("codes", torch.from_numpy(codes.copy()), persistent=False)

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode queries into the rotated space, to [B, D] float32."""
        return self.tower.encode_queries(texts) @ self.rotation.T

    def score(self, rotated_queries: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Return ⟨R q, decoded document⟩ by lookup table, with gradients to the query and to the centroids.

        Parameters
        ----------
        rotated_queries
            [B, D] float32.
        offsets
            [B, C] int64, documents of each query.

        Returns
        -------
        torch.Tensor
            [B, C] float32.
        """
        codes = self.codes[offsets].long().transpose(1, 2)
        return self.tables(rotated_queries).gather(2, codes).sum(dim=1)

    def tables(self, rotated_queries: torch.Tensor) -> torch.Tensor:
        """Return the inner product of each part of each query with each centroid, [B, D] to [B, M, K] float32."""
        parts = rotated_queries.reshape(len(rotated_queries), len(self.centroids), -1)
        return torch.einsum("bmd,mkd->bmk", parts, self.centroids)

    def quantizer(self) -> ProductQuantizer:
        """Return rotation and centroids as they are now, in NumPy."""
        centroids = self.centroids.detach().cpu().numpy().copy()
        return ProductQuantizer(np.ascontiguousarray(self.rotation.cpu().numpy()), centroids)

"""Additive codes in torch, on a GPU if there is one: a part of a vector is a sum of centroids, found by beam search.

Residual quantization (Chen et al., Sensors 2010) with a beam, whose codebooks are then fitted together by least squares
(Babenko and Lempitsky, CVPR 2014).

The last code of a document is a level of how much of its squared norm the reconstruction kept. Scores of documents that
lost more are lower by about the same share, and the bias of their level gives it back. The norm of a sum is no sum over
its terms: biases of all codes, fitted by least squares, explained .7 to .8 of its variance, and a level all of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional

from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

BEAM = 8
"""Candidates that are kept for each document from one codebook to the next."""
ROWS = 512
"""Documents that are coded at once."""


@contextmanager
def threads_of_faiss() -> Iterator[None]:
    """Let torch have no more threads than faiss in a block: `--threads` limits those."""
    import faiss

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, faiss.omp_get_max_threads()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class AdditiveAssigner:
    """Assigns codes by beam search; those of a row do not depend on how rows are grouped into calls.

    Parameters
    ----------
    quantizer
        Of `train_additive`: the first values of the centroids of the last codebook are the levels.
        Its biases are not considered.
    beam
        Candidates kept from one codebook to the next.
    """

    def __init__(self, quantizer: ProductQuantizer, beam: int = BEAM) -> None:
        self._device = resolve_device("auto")
        self._rotation = torch.from_numpy(quantizer.rotation.T.astype(np.float64)).to(self._device)
        books = torch.from_numpy(quantizer.centroids[:-1]).to(self._device)
        size = quantizer.m // quantizer.parts
        self._parts = [Part(own, beam) for own in books.split(size)]
        levels = torch.from_numpy(quantizer.centroids[-1, :, 0].astype(np.float64)).to(self._device)
        self._order = levels.argsort(stable=True)
        self._between = levels[self._order].unfold(0, 2, 1).mean(dim=1)

    def assign(self, vectors: Floats) -> Codes:
        """Return the codes of vectors, [n, D] float32 to [n, M] uint8."""
        return np.concatenate([self._assign(vectors[i : i + ROWS]) for i in range(0, len(vectors), ROWS)])

    @torch.no_grad()
    @threads_of_faiss()
    def _assign(self, vectors: Floats) -> Codes:
        # In float64, whose sums round to the same float32 in any order of summation.
        rotated = torch.from_numpy(vectors.astype(np.float64)).to(self._device) @ self._rotation
        parts = rotated.view(len(rotated), -1, rotated.shape[1] // len(self._parts)).unbind(dim=1)
        found = [part.codes(own) for part, own in zip(self._parts, parts, strict=True)]
        norms = sum(part.norms(own) for part, own in zip(self._parts, found, strict=True))
        kept = norms / rotated.pow(2).sum(dim=1).clamp(min=1e-30)
        level = self._order[torch.bucketize(kept, self._between)]
        codes: Codes = torch.cat([*found, level[:, None]], dim=1).to(torch.uint8).cpu().numpy()
        return codes


class Part:
    """The codebooks [m, K, d] of one part, and the inner products of their centroids.

    ‖x - Σ c_j‖² = ‖x‖² + Σ_j (‖c_j‖² - 2⟨x, c_j⟩) + 2 Σ_{i<j} ⟨c_i, c_j⟩: the first is the same for all codes.
    """

    def __init__(self, books: torch.Tensor, beam: int) -> None:
        self._m, self._k, _ = books.shape
        self._beam = beam
        self._flat = books.reshape(self._m * self._k, -1).double()
        self._squares = self._flat.pow(2).sum(dim=1)
        self.device = books.device
        self._products = [self._with_earlier(j) for j in range(1, self._m)]

    def _with_earlier(self, j: int) -> torch.Tensor:
        """Return twice the inner products of earlier centroids with those of codebook j, [j K, K] float32."""
        own = self._flat[j * self._k : (j + 1) * self._k]
        return (2 * self._flat[: j * self._k] @ own.T).float()

    def codes(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the codes of vectors, [n, d] float64 to [n, m] int64."""
        alone = (self._squares - 2 * vectors @ self._flat.T).float().view(len(vectors), self._m, self._k)
        errors, chosen = (
            alone.new_zeros(len(vectors), 1),
            torch.zeros(len(vectors), 1, 0, dtype=torch.long, device=alone.device),
        )
        for j in range(self._m):
            errors, chosen = self._step(j, errors, chosen, alone[:, j])
        return chosen[:, 0] % self._k

    def norms(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the squared norms of the sums of codes, [n, m] int64 to [n] float64."""
        rows = codes + torch.arange(self._m, device=codes.device) * self._k
        return functional.embedding_bag(rows, self._flat, mode="sum").pow(2).sum(dim=1)

    def _step(
        self, j: int, errors: torch.Tensor, chosen: torch.Tensor, alone: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return errors and rows of centroids of the best candidates with codebook j, [n, b] and [n, b, j + 1]."""
        total = errors[:, :, None] + alone[:, None]
        if j:
            earlier = functional.embedding_bag(chosen.reshape(-1, j), self._products[j - 1], mode="sum")
            total = total + earlier.view(total.shape)
        best, places = total.flatten(1).topk(min(self._beam, total.shape[1] * self._k), largest=False)
        before = (places // self._k)[:, :, None].expand(-1, -1, j)
        return best, torch.cat([chosen.gather(1, before), (places % self._k + j * self._k)[:, :, None]], dim=2)

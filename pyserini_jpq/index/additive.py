"""Additive codes in torch, on a GPU if there is one: a part of a vector is a sum of centroids, found by beam search.

Residual quantization (Chen et al., Sensors 2010) with a beam, whose codebooks are then fitted together by least squares
(Babenko and Lempitsky, CVPR 2014).
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pyserini_jpq.bars import Progress
from pyserini_jpq.files import beside
from pyserini_jpq.index.opq import check_parts
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

BEAM = 8
"""Candidates that are kept for each document from one codebook to the next."""
TRAINING_BEAM = 4
ROUNDS = 4
"""Alternations of codes and least squares after the first codebooks."""
SHRINKAGE = 5.0
RIDGE = 10.0
"""Most documents with a residual of zero that a centroid is thought to have besides its own, in the first codebooks and
in least squares. Of residuals in hundreds of dimensions k-means makes clusters of one or two documents, and what it
remembers of these is wrong for all others: on unseen MS MARCO passages the error is .34 without and .25 with both."""
_ITERATIONS = 12
_ROWS = 512
_NORM_SAMPLE = 65536


class AdditiveAssigner:
    """Assigns codes by beam search; those of a row do not depend on how rows are grouped into calls.

    Parameters
    ----------
    quantizer
        Its biases are not considered.
    beam
        Candidates kept from one codebook to the next.
    """

    def __init__(self, quantizer: ProductQuantizer, beam: int = BEAM) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._rotation = torch.from_numpy(quantizer.rotation.T.astype(np.float64)).to(self._device)
        books = torch.from_numpy(quantizer.centroids).to(self._device)
        self._parts = [_Part(own, beam) for own in books.view(quantizer.parts, -1, *books.shape[1:])]

    def assign(self, vectors: Floats) -> Codes:
        """Return the codes of vectors, [n, D] float32 to [n, M] uint8."""
        return np.concatenate([self._assign(vectors[i : i + _ROWS]) for i in range(0, len(vectors), _ROWS)])

    @torch.no_grad()
    def _assign(self, vectors: Floats) -> Codes:
        # In float64, whose sums round to the same float32 in any order of summation.
        rotated = torch.from_numpy(vectors.astype(np.float64)).to(self._device) @ self._rotation
        parts = rotated.view(len(rotated), len(self._parts), -1).unbind(dim=1)
        codes = torch.cat([part.codes(own) for part, own in zip(self._parts, parts, strict=True)], dim=1)
        found: Codes = codes.to(torch.uint8).cpu().numpy()
        return found


class _Part:
    """The codebooks [m, K, d] of one part, and the inner products of their centroids.

    ‖x - Σ c_j‖² = ‖x‖² + Σ_j (‖c_j‖² - 2⟨x, c_j⟩) + 2 Σ_{i<j} ⟨c_i, c_j⟩: the first is the same for all codes.
    """

    def __init__(self, books: torch.Tensor, beam: int) -> None:
        self._m, self._k, _ = books.shape
        self._beam = beam
        self._flat = books.reshape(self._m * self._k, -1).double()
        self._squares = self._flat.pow(2).sum(dim=1)
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


def train_additive(
    sample: Floats, m: int, parts: int, bits: int, seed: int, rounds: int = ROUNDS, state: Path | None = None
) -> ProductQuantizer:
    """Train an additive quantizer: k-means of residuals, codebook by codebook, then rounds of codes and least squares.

    Parameters
    ----------
    sample
        [n, D] float32, n at least 2^bits. Figures on these documents flatter, as the codebooks partly remember them.
    m, parts
        M codebooks in S parts of the dimensions; S divides M and D.
    bits
        Bits per code.
    seed
        Seed of k-means.
    rounds
        Alternations of codes and least squares.
    state
        File from which an interrupted training resumes, to the same result.

    Returns
    -------
    ProductQuantizer
        Rotation and codebooks.

    Raises
    ------
    QuantizerError
        If S does not divide M and D, or n is too small.
    """
    dimension = sample.shape[1]
    check_parts(dimension, m, parts, bits, len(sample))
    rotation = _rotation(sample, parts)
    training = _Training(sample @ rotation.T, m, parts, 1 << bits, seed, state)
    steps = m + rounds
    bar = Progress(
        range(training.step, steps), desc="training codebooks", total=steps, initial=training.step, leave=False
    )
    for step in bar:
        if step < m:
            training.add(step)
        elif step == m:
            training.shrink()
        else:
            training.refine()
        training.keep(step + 1)
    return ProductQuantizer(rotation, training.centroids)


class _Training:
    """Codebooks in training, and the codes of the sample."""

    def __init__(self, rotated: Floats, m: int, parts: int, k: int, seed: int, state: Path | None) -> None:
        self._parts = np.ascontiguousarray(rotated.reshape(len(rotated), parts, -1).transpose(1, 0, 2))
        self._seed, self._state = seed, state
        self._books = m // parts
        self.centroids: Floats = np.zeros((m, k, self._parts.shape[2]), dtype=np.float32)
        self.step = self._kept()

    def add(self, number: int) -> None:
        """Add a codebook: k-means of what the earlier ones of its part leave."""
        import faiss

        own, part, first = number % self._books, number // self._books, number // self._books * self._books
        left = self._parts[part]
        if own:
            books = self.centroids[first:number]
            left = left - _sums(books, _coded(left, books))
        # All points are used, and few of them are no reason for a warning.
        kmeans = faiss.Kmeans(
            left.shape[1],
            self.centroids.shape[1],
            niter=_ITERATIONS,
            seed=self._seed + number,
            min_points_per_centroid=1,
            max_points_per_centroid=len(left),
        )
        kmeans.train(np.ascontiguousarray(left))
        self.centroids[number] = kmeans.centroids

    def shrink(self) -> None:
        """Shrink the centroids that few documents have."""
        for part, vectors in enumerate(self._parts):
            books = self._of(part)
            codes = _coded(vectors, books)
            counts = np.stack([np.bincount(own, minlength=books.shape[1]) for own in codes.T]).astype(np.float32)
            weights = np.minimum(SHRINKAGE, _ratios(vectors, books, codes))
            books *= (counts / (counts + weights[:, None]))[:, :, None]

    def refine(self) -> None:
        """Fit all codebooks of each part together to the codes that they give."""
        for part, vectors in enumerate(self._parts):
            books = self._of(part)
            codes = _coded(vectors, books)
            weights = np.minimum(RIDGE, _ratios(vectors, books, codes))
            books[:] = _least_squares(vectors, np.repeat(weights, books.shape[1]), codes)

    def _of(self, part: int) -> Floats:
        return self.centroids[part * self._books : (part + 1) * self._books]

    def keep(self, step: int) -> None:
        """Save the next step and the codebooks."""
        if self._state is None:
            return
        with beside(self._state) as partial:
            with open(partial, "wb") as file:
                np.savez(file, step=step, centroids=self.centroids)
            os.replace(partial, self._state)

    def _kept(self) -> int:
        """Take saved codebooks; return the next step."""
        if self._state is None or not self._state.is_file():
            return 0
        try:
            with np.load(self._state, allow_pickle=False) as kept:
                step, centroids = int(kept["step"]), kept["centroids"]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0
        self.centroids = centroids
        return step


def _coded(vectors: Floats, books: Floats) -> Codes:
    """Return the codes of the vectors of one part, [n, d] to [n, m] uint8."""
    identity = np.eye(vectors.shape[1], dtype=np.float32)
    return AdditiveAssigner(ProductQuantizer(identity, books), TRAINING_BEAM).assign(vectors)


def _sums(books: Floats, codes: Codes) -> Floats:
    return ProductQuantizer(np.eye(books.shape[2], dtype=np.float32), books).decode(codes)


def _ratios(vectors: Floats, books: Floats, codes: Codes) -> Floats:
    """Return the mean squared residual of a document over that of its centroid in each codebook, [m] float32.

    So many documents' residuals have the mean square of a centroid: the ridge of a Gaussian prior.
    """
    residual = float(((vectors - _sums(books, codes)) ** 2).sum(axis=1).mean())
    squares = np.stack([(own**2).sum(axis=1)[code].mean() for own, code in zip(books, codes.T, strict=True)])
    ratios: Floats = residual / np.maximum(squares, 1e-30).astype(np.float32)
    return ratios


def _least_squares(vectors: Floats, weights: Floats, codes: Codes) -> Floats:
    """Return the codebooks [m, K, d] of one part whose sums are nearest to the vectors, given their codes.

    Parameters
    ----------
    vectors
        [n, d] float32.
    weights
        [m K] float32, added to the number of a centroid's documents.
    codes
        [n, m] uint8.
    """
    import scipy.linalg

    chosen = _chosen(codes, len(weights) // codes.shape[1])
    normal = (chosen.T @ chosen).toarray().astype(np.float32)
    normal[np.diag_indices_from(normal)] += weights
    found = scipy.linalg.solve(normal, chosen.T @ vectors, assume_a="pos", overwrite_a=True, check_finite=False)
    books: Floats = found.astype(np.float32).reshape(codes.shape[1], -1, vectors.shape[1])
    return books


def _chosen(codes: Codes, k: int) -> Any:
    """Return which centroids the documents have, a sparse matrix [n, m K] of ones."""
    from scipy.sparse import csr_array

    n, m = codes.shape
    columns = (codes + np.arange(m) * k).ravel()
    return csr_array((np.ones(n * m, np.float32), columns, np.arange(0, n * m + 1, m)), shape=(n, m * k))


def fitted_norms(quantizer: ProductQuantizer, codes: Codes, seed: int = 0) -> tuple[Floats, float]:
    """Return values of the codes whose sums come nearest to the squared norms of the decoded documents.

    The squared norm of a sum is no sum over its terms, but for the most part it can be written as one.

    Parameters
    ----------
    quantizer
        An additive quantizer.
    codes
        [N, M] uint8; of a large collection a sample is used.
    seed
        Seed of the sample.

    Returns
    -------
    values : numpy.ndarray
        [M, K] float32; a document's values sum up to its squared norm, nearly.
    share : float
        R², the share of the norms' variance that they explain.
    """
    from scipy.sparse.linalg import lsqr

    rows = np.random.default_rng(seed).permutation(len(codes))[:_NORM_SAMPLE]
    norms = np.concatenate([(quantizer.decode(codes[part]) ** 2).sum(axis=1) for part in np.array_split(rows, 16)])
    chosen, spread = _chosen(codes[rows], quantizer.k), norms - norms.mean()
    values = lsqr(chosen, spread, damp=1.0)[0]
    explained = 1 - ((chosen @ values - spread) ** 2).sum() / max((spread**2).sum(), 1e-30)
    values = values.reshape(quantizer.m, quantizer.k) + norms.mean() / quantizer.m
    return values.astype(np.float32), float(explained)


def _rotation(sample: Floats, parts: int) -> Floats:
    """Return a rotation after which parts have about the same share of the variance, [D, D] float32.

    Principal directions are dealt to the part with the least product of variances (Ge et al., CVPR 2013, parametric).
    """
    if parts == 1:
        return np.eye(sample.shape[1], dtype=np.float32)
    values, directions = np.linalg.eigh(np.cov(sample.T.astype(np.float64)))
    dealt: list[list[int]] = [[] for _ in range(parts)]
    size, logs = sample.shape[1] // parts, np.log(np.maximum(values, 1e-12))
    for place in np.argsort(-values):
        free = [own for own in dealt if len(own) < size]
        min(free, key=lambda own: sum(logs[own])).append(int(place))
    return np.ascontiguousarray(directions.T[np.concatenate(dealt)], dtype=np.float32)

"""Additive codes in torch, on a GPU if there is one: a part of a vector is a sum of centroids, found by beam search.

Residual quantization (Chen et al., Sensors 2010) with a beam, whose codebooks are then fitted together by least squares
(Babenko and Lempitsky, CVPR 2014).

The last code of a document is a level of how much of its squared norm the reconstruction kept. Scores of documents that
lost more are lower by about the same share, and the bias of their level gives it back. The norm of a sum is no sum over
its terms: biases of all codes, fitted by least squares, explained .7 to .8 of its variance, and a level all of it.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pyserini_jpq.bars import Progress
from pyserini_jpq.index.opq import check_parts
from pyserini_jpq.index.state import read_state, write_state
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
_LEVELS = (0.1, 1.05)
"""Least and largest share of a squared norm that has a level of its own."""
_PROBES = 512
_NEAREST = 10


@contextmanager
def _threads_of_faiss() -> Iterator[None]:
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
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._rotation = torch.from_numpy(quantizer.rotation.T.astype(np.float64)).to(self._device)
        books = torch.from_numpy(quantizer.centroids[:-1]).to(self._device)
        size = quantizer.m // quantizer.parts
        self._parts = [_Part(own, beam) for own in books.split(size)]
        levels = torch.from_numpy(quantizer.centroids[-1, :, 0].astype(np.float64)).to(self._device)
        self._order = levels.argsort(stable=True)
        self._between = levels[self._order].unfold(0, 2, 1).mean(dim=1)

    def assign(self, vectors: Floats) -> Codes:
        """Return the codes of vectors, [n, D] float32 to [n, M] uint8."""
        return np.concatenate([self._assign(vectors[i : i + _ROWS]) for i in range(0, len(vectors), _ROWS)])

    @torch.no_grad()
    @_threads_of_faiss()
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


class _Part:
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
        Rotation and codebooks by which codes are assigned; of the last one the first values are `_LEVELS`.
        `scoring_quantizer` has zeros there.

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
        if step < m - 1:
            training.add(step)
        elif step == m - 1:
            training.shrink()
        else:
            training.refine()
        training.keep(step + 1)
    training.centroids[-1, :, 0] = np.linspace(*_LEVELS, 1 << bits)
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
            weights = np.clip(_ratios(vectors, books, codes), 1, SHRINKAGE)
            books *= (counts / (counts + weights[:, None]))[:, :, None]

    def refine(self) -> None:
        """Fit all codebooks of each part together to the codes that they give."""
        for part, vectors in enumerate(self._parts):
            books = self._of(part)
            codes = _coded(vectors, books)
            weights = np.clip(_ratios(vectors, books, codes), 1, RIDGE)
            books[:] = _least_squares(vectors, np.repeat(weights, books.shape[1]), codes)

    def _of(self, part: int) -> Floats:
        """Return a view of the codebooks of a part, without that of the norms."""
        return self.centroids[:-1][part * self._books : (part + 1) * self._books]

    def keep(self, step: int) -> None:
        """Save the next step and the codebooks."""
        if self._state is not None:
            write_state(self._state, step=step, centroids=self.centroids)

    def _kept(self) -> int:
        """Take saved codebooks; return the next step."""
        if (kept := read_state(self._state, "step", "centroids")) is None:
            return 0
        self.centroids = kept[1]
        return int(kept[0])


@_threads_of_faiss()
def _coded(vectors: Floats, books: Floats) -> Codes:
    """Return the codes of the vectors of one part, [n, d] to [n, m] uint8."""
    part = _Part(torch.from_numpy(books).to("cuda" if torch.cuda.is_available() else "cpu"), TRAINING_BEAM)
    blocks = (vectors[start : start + _ROWS].astype(np.float64) for start in range(0, len(vectors), _ROWS))
    codes = [part.codes(torch.from_numpy(block).to(part.device)).to(torch.uint8).cpu().numpy() for block in blocks]
    return np.concatenate(codes)


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


def scoring_quantizer(assigning: ProductQuantizer, sample: Floats, seed: int) -> ProductQuantizer:
    """Return the quantizer that scores: no vector for the levels of norms, but biases.

    A score s is an inner product with a vector of the wrong norm. It would be s/√l with the right one, where l is the
    level; the bias is the difference for the score of a good hit.

    Parameters
    ----------
    assigning
        Quantizer of `train_additive`.
    sample
        [n, D] float32 documents, better others than those of its training. For some of them in place of queries the
        best others are found, whose mean score is that of a good hit.
    seed
        Seed of the choice of documents in place of queries.
    """
    centroids = assigning.centroids.copy()
    centroids[-1] = 0
    scoring = dataclasses.replace(assigning, centroids=centroids)
    decoded = scoring.decode(AdditiveAssigner(assigning).assign(sample))
    rows = np.random.default_rng(seed).permutation(len(sample))[:_PROBES]
    scores = scoring.rotate(sample[rows]) @ decoded.T
    scores[np.arange(len(rows)), rows] = -np.inf
    best = np.sort(scores, axis=1)[:, -min(_NEAREST, len(sample) - 1) :]
    biases = np.zeros(centroids.shape[:2], dtype=np.float32)
    biases[-1] = max(0.0, float(best.mean())) * (assigning.centroids[-1, :, 0] ** -0.5 - 1)
    return dataclasses.replace(scoring, biases=biases)


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

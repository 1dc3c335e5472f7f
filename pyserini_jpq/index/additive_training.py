"""Train codebooks of additive codes: k-means of residuals, shrinkage, then codes and least squares in turn."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyserini_jpq.bars import Progress
from pyserini_jpq.index.additive import ROWS, AdditiveAssigner, Part, threads_of_faiss
from pyserini_jpq.index.opq import check_parts
from pyserini_jpq.index.state import read_state, write_state
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

TRAINING_BEAM = 4
ROUNDS = 12
"""Alternations of codes and least squares after the first codebooks. On unseen MS MARCO passages the error is .367
after 4 of them and .364 after 12 (12 bytes), .252 and .251 (24 bytes)."""
SHRINKAGE = 5.0
RIDGE = 10.0
"""Most documents with a residual of zero that a centroid is thought to have besides its own, in the first codebooks and
in least squares. Of residuals in hundreds of dimensions k-means makes clusters of one or two documents, and what it
remembers of these is wrong for all others: on unseen MS MARCO passages the error is .34 without and .25 with both."""
_ITERATIONS = 12
_LEVELS = (0.1, 1.05)
"""Least and largest share of a squared norm that has a level of its own."""
_PROBES = 512
_NEAREST = 10


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


@threads_of_faiss()
def _coded(vectors: Floats, books: Floats) -> Codes:
    """Return the codes of the vectors of one part, [n, d] to [n, m] uint8."""
    part = Part(torch.from_numpy(books).to("cuda" if torch.cuda.is_available() else "cpu"), TRAINING_BEAM)
    blocks = (vectors[start : start + ROWS].astype(np.float64) for start in range(0, len(vectors), ROWS))
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
    level, or to first order in √l about the mean m of levels s/√m - s (√l - √m)/m. The bias is what of this depends on
    l, for the score of a good hit. Without the expansion the few documents of lowest level would lead all rankings.

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
    codes = AdditiveAssigner(assigning).assign(sample)
    decoded = scoring.decode(codes)
    rows = np.random.default_rng(seed).permutation(len(sample))[:_PROBES]
    scores = scoring.rotate(sample[rows]) @ decoded.T
    scores[np.arange(len(rows)), rows] = -np.inf
    best = np.sort(scores, axis=1)[:, -min(_NEAREST, len(sample) - 1) :]
    levels = assigning.centroids[-1, :, 0]
    biases = np.zeros(centroids.shape[:2], dtype=np.float32)
    biases[-1] = max(0.0, float(best.mean())) * (1 - np.sqrt(levels)) / levels[codes[:, -1]].mean()
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

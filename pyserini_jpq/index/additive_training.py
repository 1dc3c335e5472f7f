"""Train the codebooks of additive codes, one after the other, then all of them together."""

from pathlib import Path

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.index.additive_fitting import LEAST, RIDGE, coded, coded_by_others, least_squares
from pyserini_jpq.index.opq import check_parts
from pyserini_jpq.index.state import read_state, write_state
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

ROUNDS = 15
"""Alternations of codes and least squares after the last codebook is added."""
REMEMBERING = 6
"""The last of them, in which documents are coded by codebooks that they taught themselves, with a ridge of `LEAST`:
these documents are part of the index, and what codebooks remember of them is right for them. A larger ridge keeps
centroids small: the squared error of other documents is 1 % less by it, but few documents are ranked much worse."""
_ITERATIONS = 15
_LEVELS = (0.1, 1.05)
"""Least and largest share of a squared norm that has a level of its own."""


def train_additive(
    sample: Floats, m: int, parts: int, bits: int, seed: int, rounds: int = ROUNDS, state: Path | None = None
) -> ProductQuantizer:
    """Train an additive quantizer: clusters of residuals, codebook by codebook, then codes and least squares in turn.

    Documents are coded by codebooks that they have not taught (`coded_by_others`), except in the last rounds.

    Parameters
    ----------
    sample
        [n, D] float32, n at least 2^bits. Figures on these documents flatter, as the codebooks partly remember them.
    m, parts
        M codebooks in S parts of the dimensions; S divides M and D.
    bits
        Bits per code.
    seed
        Seed of the first clusters and of the folds.
    rounds
        Alternations of codes and least squares, the last `REMEMBERING` of them without folds.
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
    steps = m - 1 + rounds
    bar = Progress(
        range(training.step, steps), desc="training codebooks", total=steps, initial=training.step, leave=False
    )
    for step in bar:
        if step < m - 1:
            training.add(step)
        elif step < steps - REMEMBERING:
            training.refine()
        else:
            training.remember()
        training.keep()
    centroids = np.concatenate([*training.centroids(), np.zeros((1, 1 << bits, dimension // parts), np.float32)])
    centroids[-1, :, 0] = np.linspace(*_LEVELS, 1 << bits)
    return ProductQuantizer(rotation, centroids)


class _Training:
    """Codes of the sample in training, and the weights of codebooks."""

    def __init__(self, rotated: Floats, m: int, parts: int, k: int, seed: int, state: Path | None) -> None:
        self._parts = np.ascontiguousarray(rotated.reshape(len(rotated), parts, -1).transpose(1, 0, 2))
        self._k, self._seed, self._state = k, seed, state
        self._books = m // parts
        self._codes: Codes = np.zeros((len(rotated), m - 1), dtype=np.uint8)
        self._weights: Floats = np.full(m - 1, RIDGE, dtype=np.float32)
        self.step = 0
        if (kept := read_state(state, "step", "codes", "weights")) is not None:
            self.step, self._codes, self._weights = int(kept[0]), kept[1], kept[2]

    def add(self, number: int) -> None:
        """Add a codebook: clusters of what the earlier ones of its part leave."""
        part, rng = number // self._books, self._rng()
        left = self._parts[part]
        if earlier := number % self._books:
            left = self._by_others(part, slice(number - earlier, number), rng)
        rows = np.sort(rng.choice(len(left), self._k, replace=False))
        codes, weights = coded(left, left[None, rows]), self._weights[number : number + 1]
        for _ in range(_ITERATIONS):
            codes, _, weights = coded_by_others(left, codes, weights, self._k, rng)
        self._codes[:, number], self._weights[number] = codes[:, 0], weights[0]

    def refine(self) -> None:
        """Code each fold by all codebooks that the others teach."""
        rng = self._rng()
        for part, books in enumerate(self._of_parts()):
            self._by_others(part, books, rng)

    def remember(self) -> None:
        """Code all documents by codebooks that they teach themselves."""
        self._weights = np.full_like(self._weights, LEAST)
        for vectors, books, own in zip(self._parts, self.centroids(), self._of_parts(), strict=True):
            self._codes[:, own] = coded(vectors, books)

    def centroids(self) -> list[Floats]:
        """Return the codebooks of each part, [m, K, d] float32, without that of the levels."""
        return [
            least_squares(vectors, self._weights[own], self._codes[:, own], self._k)
            for vectors, own in zip(self._parts, self._of_parts(), strict=True)
        ]

    def keep(self) -> None:
        """Go on to the next step; save it, the codes and the weights."""
        self.step += 1
        if self._state is not None:
            write_state(self._state, step=self.step, codes=self._codes, weights=self._weights)

    def _by_others(self, part: int, own: slice, rng: np.random.Generator) -> Floats:
        """Code each fold by what the others teach some codebooks of a part; return what is left."""
        found = coded_by_others(self._parts[part], self._codes[:, own], self._weights[own], self._k, rng)
        self._codes[:, own], left, self._weights[own] = found
        return left

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng((self._seed, self.step))

    def _of_parts(self) -> list[slice]:
        """Return where the codebooks of each part are, without that of the levels."""
        last = self._codes.shape[1]
        return [slice(start, min(start + self._books, last)) for start in range(0, last, self._books)]


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

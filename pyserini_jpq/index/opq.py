"""Train rotation and centroids on a sample: OPQ, by alternating k-means and a Procrustes rotation."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.index.state import read_state, write_state
from pyserini_jpq.quantizer import Floats, ProductQuantizer

ROUNDS = 50
"""Alternations of centroids and rotation, as in faiss."""
BOOKS = 48
"""Most codebooks of a part, by default: what they take in memory grows with the square."""
_SAVED_EVERY = 10.0
"""Seconds between saved states; an interruption costs one round more at most."""


def check_shape(dimension: int, m: int, bits: int, documents: int) -> None:
    """Raise QuantizerError if M subspaces of 2^bits centroids cannot be trained on these vectors."""
    if dimension % m:
        near = [d for d in range(1, dimension + 1) if dimension % d == 0]
        near = sorted(sorted(near, key=lambda d: abs(d - m))[:4])
        raise QuantizerError(
            f"--m {m} does not divide the {dimension} dimensions of the embeddings; "
            f"nearest that do: {', '.join(map(str, near))}"
        )
    check_documents(documents, bits)


def check_documents(documents: int, bits: int) -> None:
    """Raise QuantizerError if there are fewer documents than centroids."""
    if documents < 2**bits:
        fewer = ", or --bits 4, which needs 16" if bits == 8 and documents >= 16 else ""
        raise QuantizerError(
            f"{documents} documents (or --sample) are fewer than the {2**bits} centroids of {bits} bits; "
            f"at least {2**bits} are needed{fewer}"
        )


def default_parts(dimension: int, m: int) -> int:
    """Return the least number of parts with at most 48 codebooks each, a divisor of M and D."""
    return next(s for s in range(1, m + 1) if (m % s == dimension % s == 0 and m <= BOOKS * s) or s == m)


def check_parts(dimension: int, m: int, parts: int, bits: int, documents: int) -> None:
    """Raise QuantizerError if M codebooks in S parts cannot be trained on these vectors."""
    if m % parts or dimension % parts:
        raise QuantizerError(
            f"--parts {parts} does not divide --m {m} and the {dimension} dimensions of the embeddings; 1 always does"
        )
    if m < 2 * parts:
        raise QuantizerError(f"--m {m} is too small for {parts} parts of additive codes; {2 * parts} is the least")
    check_documents(documents, bits)


def train_opq(
    sample: Floats, m: int, bits: int, seed: int, rounds: int = ROUNDS, state: Path | None = None
) -> ProductQuantizer:
    """Train an optimized product quantizer (Ge et al., CVPR 2013, non-parametric).

    Parameters
    ----------
    sample
        [S, D] float32, S at least 2^bits.
    m
        Number of subspaces, a divisor of D.
    bits
        Bits per code.
    seed
        Seed of the first rotation and of k-means.
    rounds
        Alternations of centroids and rotation.
    state
        File from which an interrupted training resumes, to the same result.

    Returns
    -------
    ProductQuantizer
        Rotation and centroids.

    Raises
    ------
    QuantizerError
        If M does not divide D, or S is too small.
    """
    import faiss

    check_shape(sample.shape[1], m, bits, len(sample))
    pq: Any = faiss.ProductQuantizer(sample.shape[1], m, bits)
    # Silences a warning for each subspace and round.
    pq.cp.min_points_per_centroid = 1
    pq.cp.max_points_per_centroid = max(256, len(sample))
    pq.cp.seed = seed
    first, rotation = _kept(state, pq) or (0, _random_rotation(sample.shape[1], seed))
    saved = time.monotonic()
    steps = Progress(
        range(first, rounds + 1), desc="training OPQ", unit=" rounds", total=rounds + 1, initial=first, leave=False
    )
    for step in steps:
        rotated = np.ascontiguousarray(sample @ rotation.T)
        pq.cp.niter = 25 if step in (0, rounds) else 4
        pq.train_type = faiss.ProductQuantizer.Train_default if step == 0 else faiss.ProductQuantizer.Train_hot_start
        pq.train(rotated)
        if step < rounds:
            rotation = _procrustes(sample, pq.decode(pq.compute_codes(rotated)))
            if state and time.monotonic() - saved >= _SAVED_EVERY:
                _keep(state, step + 1, rotation, pq)
                saved = time.monotonic()
    centroids = faiss.vector_to_array(pq.centroids).reshape(m, 2**bits, -1)
    return ProductQuantizer(rotation, centroids.copy())


def _keep(state: Path, step: int, rotation: Floats, pq: Any) -> None:
    """Save the next round and its start."""
    import faiss

    write_state(state, step=step, rotation=rotation, centroids=faiss.vector_to_array(pq.centroids))


def _kept(state: Path | None, pq: Any) -> tuple[int, Floats] | None:
    """Return the saved round and rotation, and set the centroids of the quantizer; None if nothing was saved."""
    import faiss

    if (kept := read_state(state, "step", "rotation", "centroids")) is None:
        return None
    step, rotation, centroids = kept
    faiss.copy_array_to_vector(centroids, pq.centroids)
    return int(step), rotation


def _procrustes(vectors: Floats, targets: Floats) -> Floats:
    """Return the rotation R for which the sum of ‖R x - target‖² over all rows is least, [D, D] float32."""
    u, _, vt = np.linalg.svd(vectors.T.astype(np.float64) @ targets.astype(np.float64))
    return np.ascontiguousarray((u @ vt).T, dtype=np.float32)


def _random_rotation(dimension: int, seed: int) -> Floats:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, dimension)))
    # The signs of r's diagonal make the distribution uniform.
    return np.ascontiguousarray(q * np.sign(np.diag(r)), dtype=np.float32)

"""Codes and codebooks of one part of additive codes: each found where the other is given.

A codebook fitted to documents remembers them: in hundreds of dimensions a document is nearer to a centroid that it is
part of than to others, so it keeps its code, whatever the others are, and what is learned fits no other document.
`coded_by_others` codes the documents of each fold by codebooks that those of the other folds taught.
"""

from typing import Any

import numpy as np
import torch

from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.index.additive import ROWS, Part, threads_of_faiss
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

LEAST, RIDGE = 1.0, 10.0
"""Least and most documents with a residual of zero that a centroid is thought to have besides its own."""
_BEAM = 4
_FEW = 32
"""Documents for each centroid of a codebook from which two folds are enough. Of fewer documents, half teach too little:
at 24 bytes nDCG@10 on NFCorpus (1,816 documents) is .242 with two folds and .253 with five. On MS MARCO (24,551) what
is left of unseen passages is .229 of their squared norm with two, .231 with five (12 and 8 rounds, no remembering)."""


def coded_by_others(
    vectors: Floats, codes: Codes, weights: Floats, k: int, rng: np.random.Generator
) -> tuple[Codes, Floats, Floats]:
    """Code each fold by codebooks of the other folds: return new codes, what they leave, and new weights.

    Parameters
    ----------
    vectors
        [n, d] float32.
    codes
        [n, m] uint8.
    weights
        [m] float32, the ridge of each codebook.
    k
        Centroids of a codebook.
    rng
        Chooses the folds: two, or five of few documents.

    Returns
    -------
    codes
        [n, m] uint8.
    left
        [n, d] float32, vectors less the sums of their centroids: about what is left of documents that taught nothing.
    weights
        [m] float32: the mean squared residual over that of a centroid, the ridge of a Gaussian prior; from `LEAST`
        to `RIDGE`.
    """
    folds = np.array_split(rng.permutation(len(vectors)), 2 if len(vectors) >= _FEW * k else 5)
    new, left = np.empty_like(codes), np.empty_like(vectors)
    squares = np.zeros(codes.shape[1], np.float32)
    for number, own in enumerate(folds):
        others = np.concatenate(folds[:number] + folds[number + 1 :])
        books = least_squares(vectors[others], weights, codes[others], k)
        new[own] = coded(vectors[own], books)
        left[own] = vectors[own] - sums(books, new[own])
        squares += [(book**2).sum(axis=1)[code].sum() for book, code in zip(books, new[own].T, strict=True)]
    ratios = np.clip((left**2).sum() / np.maximum(squares, 1e-30), LEAST, RIDGE)
    return new, left, ratios.astype(np.float32)


@threads_of_faiss()
def coded(vectors: Floats, books: Floats) -> Codes:
    """Return the codes of vectors by codebooks [m, K, d], [n, d] to [n, m] uint8."""
    part = Part(torch.from_numpy(books).to(resolve_device("auto")), _BEAM)
    blocks = (vectors[start : start + ROWS].astype(np.float64) for start in range(0, len(vectors), ROWS))
    codes = [part.codes(torch.from_numpy(block).to(part.device)).to(torch.uint8).cpu().numpy() for block in blocks]
    return np.concatenate(codes)


def sums(books: Floats, codes: Codes) -> Floats:
    """Return the sums of the centroids of codes, [n, m] to [n, d] float32."""
    return ProductQuantizer(np.eye(books.shape[2], dtype=np.float32), books).decode(codes)


def least_squares(vectors: Floats, weights: Floats, codes: Codes, k: int) -> Floats:
    """Return the codebooks [m, K, d] of one part whose sums are nearest to the vectors, given their codes.

    Parameters
    ----------
    vectors
        [n, d] float32.
    weights
        [m] float32, added to the number of documents of each centroid of a codebook.
    codes
        [n, m] uint8.
    k
        Centroids of a codebook.
    """
    import scipy.linalg

    chosen = _chosen(codes, k)
    normal = (chosen.T @ chosen).toarray().astype(np.float32)
    normal[np.diag_indices_from(normal)] += np.repeat(weights, k)
    found = scipy.linalg.solve(normal, chosen.T @ vectors, assume_a="pos", overwrite_a=True, check_finite=False)
    books: Floats = found.astype(np.float32).reshape(codes.shape[1], k, vectors.shape[1])
    return books


def _chosen(codes: Codes, k: int) -> Any:
    """Return which centroids the documents have, a sparse matrix [n, m K] of ones."""
    from scipy.sparse import csr_array

    n, m = codes.shape
    columns = (codes + np.arange(m) * k).ravel()
    return csr_array((np.ones(n * m, np.float32), columns, np.arange(0, n * m + 1, m)), shape=(n, m * k))

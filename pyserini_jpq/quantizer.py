"""The quantizer in NumPy: rotation, centroids and codes; the reference in the tests of every engine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import QuantizerError

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]
Rows = NDArray[np.int64]

_SCORE_BLOCK = 1 << 16


@dataclass(frozen=True)
class ProductQuantizer:
    """A rotation and M codebooks, over S parts of the dimensions.

    With S = M this is OPQ: each subspace has one codebook (Jégou et al., TPAMI 2011; Ge et al., CVPR 2013). With fewer
    parts it is additive: a part is the sum of one centroid of each of its M/S codebooks (Chen et al., Sensors 2010;
    Babenko and Lempitsky, CVPR 2014). Tables, scores and search are the same.

    Attributes
    ----------
    rotation : numpy.ndarray
        [D, D] float32, orthogonal but where training has mapped documents; a vector x is rotated to `rotation @ x`.
    centroids : numpy.ndarray
        [M, K, D/S] float32, K a power of two up to 256; the codebooks of a part follow each other.
    biases : numpy.ndarray or None
        [M, K] float32, added to a document's score for each of its codes; None for none.

    Raises
    ------
    QuantizerError
        If the shapes do not fit each other, or a value is not finite.
    """

    rotation: Floats
    centroids: Floats
    biases: Floats | None = None

    def __post_init__(self) -> None:
        """Check shapes and values."""
        square = self.rotation.ndim == 2 and self.rotation.shape[0] == self.rotation.shape[1] > 0
        if self.centroids.ndim != 3 or not self.centroids.size or not square or not self._divides():
            raise QuantizerError(
                f"rotation {self.rotation.shape} and centroids {self.centroids.shape} do not fit: "
                "expected [D, D] and [M, K, D/S], S a divisor of D and M"
            )
        if self.k & (self.k - 1) or not 2 <= self.k <= 256:
            raise QuantizerError(f"{self.k} centroids a subspace; expected a power of two from 2 to 256")
        if self.biases is not None and self.biases.shape != self.centroids.shape[:2]:
            raise QuantizerError(
                f"biases {self.biases.shape} and centroids {self.centroids.shape} do not fit: expected [M, K]"
            )
        parts = (self.rotation, self.centroids, 0.0 if self.biases is None else self.biases)
        if not all(np.isfinite(part).all() for part in parts):
            raise QuantizerError("the rotation, the centroids or the biases hold a value that is NaN or infinite")

    @property
    def m(self) -> int:
        """Number of subspaces M."""
        return int(self.centroids.shape[0])

    @property
    def k(self) -> int:
        """Number of centroids K per subspace."""
        return int(self.centroids.shape[1])

    @property
    def bits(self) -> int:
        """Bits per code."""
        return self.k.bit_length() - 1

    @property
    def dimension(self) -> int:
        """Number of dimensions D of a vector."""
        return len(self.rotation)

    @property
    def parts(self) -> int:
        """Number of parts S of the dimensions: M for a product quantizer."""
        return self.dimension // int(self.centroids.shape[2])

    @property
    def additive(self) -> bool:
        """Whether a part has several codebooks."""
        return self.parts < self.m

    @property
    def bytes_per_document(self) -> int:
        """Bytes of a document's codes, packed."""
        return (self.m * self.bits + 7) // 8

    def _divides(self) -> bool:
        return self.dimension % self.centroids.shape[2] == 0 and self.m % self.parts == 0

    def rotate(self, vectors: Floats) -> Floats:
        """Rotate vectors, [N, D] float32 to [N, D] float32."""
        rotated: Floats = vectors @ self.rotation.T
        return rotated

    def assign(self, vectors: Floats) -> Codes:
        """Return the codes of vectors: the nearest centroid by Euclidean distance in each subspace.

        Parameters
        ----------
        vectors
            [N, D] float32, not rotated.

        Returns
        -------
        numpy.ndarray
            [N, M] uint8; of equally near centroids the first.

        Raises
        ------
        QuantizerError
            If the quantizer is additive: `index.additive` assigns its codes.
        """
        if self.additive:
            raise QuantizerError("codes of an additive quantizer are not the nearest centroids, one by one")
        parts = self.rotate(vectors).reshape(len(vectors), self.m, -1)
        codes = np.empty((len(vectors), self.m), dtype=np.uint8)
        for j in range(self.m):
            # ‖x - c‖² = ‖x‖² - 2⟨x, c⟩ + ‖c‖², of which the first term is the same for all centroids.
            squares = (self.centroids[j] ** 2).sum(axis=1)
            codes[:, j] = np.argmin(squares - 2 * parts[:, j] @ self.centroids[j].T, axis=1)
        return codes

    def decode(self, codes: Codes) -> Floats:
        """Return the rotated vectors of codes, without biases: [N, M] uint8 to [N, D] float32."""
        vectors = np.zeros((len(codes), self.parts, self.centroids.shape[2]), dtype=np.float32)
        for j in range(self.m):
            vectors[:, j * self.parts // self.m] += self.centroids[j, codes[:, j]]
        return vectors.reshape(len(codes), self.dimension)

    def lookup_tables(self, queries: Floats) -> Floats:
        """Return the lookup tables of queries, [B, D] to [B, M, K] float32.

        An entry is the inner product of a centroid and the query's part, plus the centroid's bias.
        """
        return self.rotated_lookup_tables(self.rotate(queries))

    def rotated_lookup_tables(self, rotated: Floats) -> Floats:
        """Return the lookup tables of rotated queries, [B, D] to [B, M, K] float32."""
        # einsum took three times as long for one query.
        parts = rotated.reshape(len(rotated), self.parts, -1).transpose(1, 0, 2)
        books = self.centroids.reshape(self.parts, -1, self.centroids.shape[2])
        products = np.matmul(parts, books.transpose(0, 2, 1)).transpose(1, 0, 2)
        tables: Floats = np.ascontiguousarray(products, dtype=np.float32).reshape(len(rotated), self.m, self.k)
        return tables if self.biases is None else tables + self.biases

    def score(self, queries: Floats, codes: Codes) -> Floats:
        """Return the scores of documents by lookup table: ⟨R q, decoded document⟩ plus biases.

        Parameters
        ----------
        queries
            [B, D] float32, not rotated.
        codes
            [N, M] uint8.

        Returns
        -------
        numpy.ndarray
            [B, N] float32.
        """
        tables = self.lookup_tables(queries)
        scores = np.zeros((len(queries), len(codes)), dtype=np.float32)
        for j in range(self.m):
            scores += tables[:, j, codes[:, j]]
        return scores

    def search(self, queries: Floats, codes: Codes, k: int) -> tuple[Floats, Rows]:
        """Return the k best documents of each query; of equal scores the earlier row first.

        Parameters
        ----------
        queries
            [B, D] float32.
        codes
            [N, M] uint8.
        k
            Number of hits.

        Returns
        -------
        scores, rows : numpy.ndarray
            [B, min(k, N)] float32, descending, and int64.
        """
        return best_of_blocks(self._score_blocks(queries, codes), len(queries), k)

    def _score_blocks(self, queries: Floats, codes: Codes) -> Iterator[tuple[Floats, Rows]]:
        """Yield scores and rows of documents block by block, [B, n] each."""
        for start in range(0, len(codes), _SCORE_BLOCK):
            scores = self.score(queries, codes[start : start + _SCORE_BLOCK])
            yield scores, np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)


def best_of_blocks(blocks: Iterable[tuple[Floats, Rows]], queries: int, k: int) -> tuple[Floats, Rows]:
    """Return the k best documents of each query from blocks of scores; of equal scores the first.

    Parameters
    ----------
    blocks
        Scores and rows, [B, n] each.
    queries
        B.
    k
        Number of hits.

    Returns
    -------
    scores, rows : numpy.ndarray
        [B, min(k, N)] float32, descending, and int64.
    """
    best: tuple[Floats, Rows] = np.empty((queries, 0), dtype=np.float32), np.empty((queries, 0), dtype=np.int64)
    for block in blocks:
        scores, rows = np.concatenate([best[0], block[0]], axis=1), np.concatenate([best[1], block[1]], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return best

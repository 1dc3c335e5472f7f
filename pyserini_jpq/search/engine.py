"""The compiled scan in place of faiss's search, on the faiss index that Pyserini holds."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq import cli
from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.index.blocks import open_blocks
from pyserini_jpq.index.faiss import parts_of, quantizer_of, rotation_of, stored_codes, unpack
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan import PQScanner, available, turned_off

Rows = NDArray[np.int64]

NO_SCORE = np.finfo(np.float32).min

SCAN_FROM = 10_000
"""Documents from which on the compiled scan searches. Below, it would save a tenth of a millisecond, and equal scores
(documents that share all their codes) stand in the order of the stock searcher; the scan orders them by row."""

SCAN_4_FROM = 1_000
"""The same for codes of 4 bits, for which faiss takes a microsecond a document."""


def opened(folder: IndexFolder) -> Any:
    """Return the faiss index of a folder, mapped into memory, searched as `JPQFaissSearcher` does on a CPU."""
    return exhaustive(folder.read(mapped=True), str(folder.path), folder.blocks)


def exhaustive(index: Any, where: str, blocks: Path | None = None) -> Any:
    """Return the index, searched by the compiled scan if it holds as many documents as that is for; see `speed_up`."""
    _, inner = parts_of(index, where)
    enough = index.ntotal >= (SCAN_4_FROM if inner.pq.nbits == 4 else SCAN_FROM)
    return speed_up(index, where, blocks) if enough else index


def speed_up(index: Any, where: str, blocks: Path | None = None) -> Any:
    """Let an index of ours search by the compiled scan, where that is there; the results are the reference's.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.
    blocks
        The file of its codes laid out for the scan, if there is one.

    Returns
    -------
    Any
        The same index, whose `search` and `search_and_reconstruct` are replaced.

    Raises
    ------
    IndexFolderError
        If that file is damaged, or of another index.
    """
    if not available():
        _say_once()
        return index
    return searched_by(index, ScanEngine(index, where, blocks))


def searched_by(index: Any, engine: Any) -> Any:
    """Return the index with `search` and `search_and_reconstruct` of an engine in place of its own."""
    # Set on the object: it stays a faiss index, which Pyserini and others can use as such.
    index.search, index.search_and_reconstruct = engine.search, engine.search_and_reconstruct
    return index


def finite(queries: Floats) -> Floats:
    """Return query vectors as contiguous float32; raises QuantizerError if one holds NaN or infinite values."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if not np.isfinite(queries).all():
        raise QuantizerError("a query vector holds a value that is NaN or infinite")
    return queries


@cache
def _say_once() -> None:
    if not turned_off():
        cli.warn("the compiled scan was not built (no C++ compiler); searching with faiss, several times slower")


class ScanEngine:
    """Searches the codes of a faiss index where they lie; it must not outlive the index.

    Parameters
    ----------
    index
        A faiss index: a rotation, then an `IndexPQ` of 8 or 4 bits a code.
    where
        Named in an error.
    blocks
        As in `speed_up`; then searches leave the codes of the index alone, so that memory holds them once.
    """

    def __init__(self, index: Any, where: str, blocks: Path | None = None) -> None:
        self.quantizer = quantizer_of(index, where)
        self._rotation = rotation_of(self.quantizer)
        self._rotation_rows = np.ascontiguousarray(self.quantizer.rotation)
        self._codes = stored_codes(index, where)
        self._scanner = PQScanner(self._codes if blocks is None else open_blocks(blocks, self._codes))

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `faiss.Index.search`, with as many threads as faiss is set to.

        Parameters
        ----------
        queries
            [B, D] float32, not rotated.
        k
            Hits wanted.

        Returns
        -------
        scores : numpy.ndarray
            [B, k] float32, falling.
        rows : numpy.ndarray
            [B, k] int64; -1 beyond the last document.

        Raises
        ------
        QuantizerError
            If a query holds NaN or infinite values, or values so large that scores overflow float32.
        """
        import faiss

        queries = finite(queries)
        with np.errstate(over="ignore", invalid="ignore"):  # the scan refuses tables that overflowed
            tables = self._tables(queries)
        scores, rows = self._scanner.search(tables, k, faiss.omp_get_max_threads())
        missing = k - rows.shape[1]
        if missing > 0:
            scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=NO_SCORE)
            rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
        return scores, rows

    def search_and_reconstruct(self, queries: Floats, k: int) -> tuple[Floats, Rows, Floats]:
        """Search, and return the vectors of the hits too: [B, k, D] float32, rotated back."""
        scores, rows = self.search(queries, k)
        codes = unpack(self._codes[rows.ravel()], self.quantizer.m, self.quantizer.bits)
        decoded = self.quantizer.decode(codes) @ self.quantizer.rotation
        return scores, rows, decoded.reshape(*rows.shape, -1)

    def _rotated(self, queries: Floats) -> Floats:
        """Return queries rotated by faiss, which keeps to its threads; NumPy would wake all cores for a vector."""
        import faiss

        if len(queries) > 1:
            rotated: Floats = self._rotation.apply(queries)
            return rotated
        # Inner products with rows: half the time of faiss's product of matrices, since the rotation is read once.
        rotated = np.empty_like(queries)
        arrays = (rotated, queries, self._rotation_rows)
        functions: Any = faiss  # of which stubs know this one not
        functions.fvec_inner_products_ny(*map(faiss.swig_ptr, arrays), *self._rotation_rows.shape)
        return rotated

    def _tables(self, queries: Floats) -> Floats:
        """Return a table of 256 entries for each byte of a document: two of 16 make one of their sums."""
        tables = self.quantizer.rotated_lookup_tables(self._rotated(queries))
        if self.quantizer.bits == 8:
            return tables
        tables = np.pad(tables, ((0, 0), (0, self.quantizer.m % 2), (0, 0)))
        pairs: Floats = tables[:, ::2, None, :] + tables[:, 1::2, :, None]
        return pairs.reshape(len(queries), -1, 256)

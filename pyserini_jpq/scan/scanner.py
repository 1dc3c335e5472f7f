"""The Python side of the scan: checks of shapes and values, and one line where the extension is missing."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import InstallationError, QuantizerError
from pyserini_jpq.scan.layout import Blocks, bytes_of
from pyserini_jpq.scan.threads import usable

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]
Addresses = NDArray[np.uint64]

KERNEL_VARIABLE = "PYSERINI_JPQ_KERNEL"
"""Environment variable that names the kernel to use in place of the fastest; `off` does without the extension."""


def available() -> bool:
    """Tell whether the compiled extension is there."""
    return _native() is not None


def turned_off() -> bool:
    """Tell whether the user asked to do without the extension."""
    return os.environ.get(KERNEL_VARIABLE) == "off"


def kernels() -> list[str]:
    """Return the names of the kernels that this machine can run, the fastest first."""
    native = _native()
    names: list[str] = native.kernel_names() if native else []
    return names


class PQScanner:
    """Finds the documents with the largest sums of table entries, exactly.

    Codes stay where they are and as they are, also in a memory-mapped file: rows of bytes, as a faiss `IndexPQ` keeps
    them, which are transposed on the fly for a single query, into a buffer that fits the second-level cache; or blocks
    that are transposed already, for which one query takes less time.

    Parameters
    ----------
    codes
        [N, bytes] uint8, contiguous: a NumPy array or a torch tensor in main memory; or blocks, as `in_blocks` makes
        them. Not copied; they must not change while a search runs, and may change between searches.
    bits
        Of a code: 8, or 4, where a byte holds the codes of two subspaces, the first in its low half, as in faiss.

    Raises
    ------
    InstallationError
        If the extension was not built.
    QuantizerError
        If the codes are of another type or shape, or not contiguous.
    """

    def __init__(self, codes: Any, bits: int = 8) -> None:
        self._native = _required()
        self._bits = bits
        self.in_blocks = isinstance(codes, Blocks)
        self.codes: NDArray[np.uint8] = np.asarray(codes.data if isinstance(codes, Blocks) else codes)
        shape: tuple[int, ...] = self.codes.shape
        if isinstance(codes, Blocks):
            self.documents, self.m = codes.documents, codes.m
            expected, fits = "blocks", shape == (bytes_of(self.documents, self.m),)
        else:
            expected, fits = "[N, M]", len(shape) == 2
            self.documents, self.m = shape if fits else (0, 0)
        if self.codes.dtype != np.uint8 or not fits or not self.codes.flags.c_contiguous:
            raise QuantizerError(
                f"codes are {self.codes.dtype} of shape {shape}; expected {expected} uint8, contiguous"
            )

    def search(self, tables: Any, k: int, threads: int = 1) -> tuple[Scores, Rows]:
        """Return the k best documents of each query, the earlier row first where scores are equal.

        Scores are sums from the first subspace to the last in float32, so equal to those of
        `ProductQuantizer.search` bit for bit where the tables are, however codes lie. The interpreter is free while the
        scan runs.

        Parameters
        ----------
        tables
            [B, M, K] float32, K up to 256, or 16 for codes of 4 bits: what a code adds to the score, in each subspace.
            Codes must be below K.
        k
            Hits wanted; all N documents where there are fewer.
        threads
            Most threads to use, up to one a core.

        Returns
        -------
        scores : numpy.ndarray
            [B, min(k, N)] float32, falling.
        rows : numpy.ndarray
            [B, min(k, N)] int64.

        Raises
        ------
        QuantizerError
            If shapes do not fit, k or threads is below 1, or the entries of a table are not finite or so large that
            scores could overflow float32.
        """
        tables = _checked(tables, self.m, self._bits, k, threads)
        with _explained():
            scores, rows = self._native.search(
                self.codes, self.documents, self.in_blocks, self._bits, tables, k, usable(threads), _kernel()
            )
        return scores, rows


class ListScanner:
    """Finds the documents with the largest sums of table entries in some of many lists, exactly.

    Parameters
    ----------
    codes
        [L] uint64, the addresses of the codes of L lists, n rows of bytes each; they must stay there.
    rows
        [L] uint64, the addresses of their documents' rows in the whole, n int64 each, below 2³² - 1.
    sizes
        [L] int64, the numbers n of their documents.
    m
        Bytes of a document.
    bits
        Of a code, as in `PQScanner`.

    Raises
    ------
    InstallationError
        If the extension was not built.
    """

    def __init__(self, codes: Addresses, rows: Addresses, sizes: Rows, m: int, bits: int = 8) -> None:
        self._native = _required()
        self._codes, self._rows, self._sizes, self.m, self._bits = codes, rows, sizes, m, bits

    def search(self, probed: Rows, tables: Any, k: int, threads: int = 1) -> tuple[Scores, Rows]:
        """Return the k best documents of the lists that each query looks at; else as `PQScanner.search`.

        Parameters
        ----------
        probed
            [B, P] int64, the lists; below 0 for none.
        tables
            [B, M, K] float32, as in `PQScanner.search`.
        k
            Hits wanted.
        threads
            Most threads to use, up to one a core; they share the queries.

        Returns
        -------
        scores : numpy.ndarray
            [B, k] float32, falling; the lowest float32 where there are no more documents.
        rows : numpy.ndarray
            [B, k] int64, and there -1.

        Raises
        ------
        QuantizerError
            As `PQScanner.search`.
        """
        tables = _checked(tables, self.m, self._bits, k, threads)
        sizes = np.where(probed < 0, 0, self._sizes[probed])
        with _explained():
            scores, rows = self._native.search_lists(
                self._codes[probed], self._rows[probed], sizes, self._bits, tables, k, usable(threads), _kernel()
            )
        return scores, rows


def _checked(tables: Any, m: int, bits: int, k: int, threads: int) -> Scores:
    """Return lookup tables as the extension wants them; raise QuantizerError where something does not fit."""
    checked: Scores = np.ascontiguousarray(tables, dtype=np.float32)
    shape = checked.shape
    if len(shape) != 3 or (shape[1] * bits + 7) // 8 != m or not 1 <= shape[2] <= 1 << bits:
        raise QuantizerError(
            f"tables of shape {shape} do not fit documents of {m} bytes of codes of {bits} bits; expected [B, M, K]"
        )
    if k < 1 or threads < 1:
        raise QuantizerError(f"k is {k} and threads {threads}; both must be at least 1")
    return checked


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the extension raises into errors of ours."""
    try:
        yield
    except OverflowError as problem:
        raise QuantizerError(f"{problem}; is the query finite, and of ordinary length?") from None
    except ValueError as problem:  # more documents or subspaces than it can count, or an unknown kernel
        raise QuantizerError(f"{problem} (kernels here: {', '.join(kernels())})") from None


def _kernel() -> str:
    """Return the name of the kernel that the user asks for; none for the fastest."""
    return os.environ.get(KERNEL_VARIABLE, "")


def _required() -> ModuleType:
    native = _native()
    if native is None:
        raise InstallationError(
            "the compiled scan is not installed; install a C++ compiler and run "
            "`pip install --force-reinstall --no-deps -e .` in the checkout of pyserini_jpq"
        )
    return native


def _native() -> ModuleType | None:
    if turned_off():
        return None
    try:
        return importlib.import_module("pyserini_jpq.scan._native")
    except ImportError:
        return None

"""The compiled scan in place of faiss's search, on the faiss index that Pyserini holds."""

from functools import cache
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.index.blocks import open_blocks
from pyserini_jpq.index.faiss_format import parts_of
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.scan import PQScanner, available, turned_off
from pyserini_jpq.search.engines.table import Rows, TableEngine, searched_by

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


@cache
def _say_once() -> None:
    if not turned_off():
        cli.warn("the compiled scan was not built (no C++ compiler); searching with faiss, several times slower")


class ScanEngine(TableEngine):
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
        super().__init__(index, where)
        codes = self._codes if blocks is None else open_blocks(blocks, self._codes)
        self._scanner = PQScanner(codes, self.quantizer.bits)

    def _scan(self, rotated: Floats, tables: Floats, k: int, threads: int) -> tuple[Floats, Rows]:
        return self._scanner.search(tables, k, threads)

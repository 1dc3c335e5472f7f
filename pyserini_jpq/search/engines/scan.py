"""Exhaustive search by the compiled scan."""

from pathlib import Path
from typing import Any

from pyserini_jpq.index.blocks import open_blocks
from pyserini_jpq.quantizer import Floats, Rows
from pyserini_jpq.scan import PQScanner
from pyserini_jpq.search.engines.codes import TableEngine


class ScanEngine(TableEngine):
    """Scores all documents, with the results of `ProductQuantizer.search`; ties go to the earlier row.

    Parameters
    ----------
    index, where
        As in `CodesEngine`.
    blocks
        File of the codes in the layout of the scan, if there is one; it is read in place of the index's codes.

    Raises
    ------
    IndexFolderError
        If the file of blocks is damaged, or of another index.
    InstallationError
        If the scan was not built.
    """

    def __init__(self, index: Any, where: str, blocks: Path | None = None) -> None:
        super().__init__(index, where)
        codes = self.codes if blocks is None else open_blocks(blocks, self.codes)
        self._scanner = PQScanner(codes, self.quantizer.bits)

    def found(self, prepared: tuple[Any, ...], k: int, threads: int) -> tuple[Floats, Rows]:
        """Search as `TableEngine.found`."""
        return self._scanner.search(prepared[0], k, threads)

"""Our own indexes, and uncompressed vectors, as what a comparison searches: on the CPU, and on a device of torch's."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import Built, Rows
from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.open import open_index

_BLOCK = 1 << 16
_BATCH = 32


class IndexBuilt(Built):
    """An index folder, searched as `JPQFaissSearcher` does."""

    def __init__(self, folder: Path) -> None:
        self._index = open_index(folder)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says."""
        found: tuple[Floats, Rows] = self._index.search(queries, k)
        return found


class OnDevice(Built):
    """An index folder, or a folder of embeddings, copied to a device.

    Parameters
    ----------
    folder
        Of either kind.
    device
        As torch names it.

    Raises
    ------
    JPQError
        If there is no such device, or the folder cannot be read.
    """

    def __init__(self, folder: Path, device: str) -> None:
        import torch

        from pyserini_jpq.encode.precision import resolve_device
        from pyserini_jpq.search.engines.torch import TorchEngine

        place = resolve_device(device)
        self._engine: Any = None
        if (folder / MANIFEST).is_file():
            blocks = Embeddings(folder).blocks(_BLOCK)
            self._vectors = torch.cat([torch.from_numpy(block).to(place) for block in blocks])
        else:
            self._engine = TorchEngine(IndexFolder(folder).read(), str(folder), place)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says; the hits are back on the CPU when it returns."""
        parts = [self._batch(queries[start : start + _BATCH], k) for start in range(0, len(queries), _BATCH)]
        scores, rows = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def _batch(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        import torch

        if self._engine is not None:
            found: tuple[Floats, Rows] = self._engine.search(queries, k)
            return found
        best = (torch.from_numpy(queries).to(self._vectors.device) @ self._vectors.T).topk(k)
        return best.values.cpu().numpy(), best.indices.cpu().numpy()

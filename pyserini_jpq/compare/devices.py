"""Search on a device of torch's, a GPU where there is one: of the codes of an index, and of uncompressed vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyserini_jpq.compare.baselines.base import Built, Rows
from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings
from pyserini_jpq.encode.precision import resolve_device
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.engines.torch import TorchEngine

_BLOCK = 1 << 16


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
        place = resolve_device(device)
        if (folder / MANIFEST).is_file():
            self._engine: Any = _Flat(Embeddings(folder), place)
        else:
            self._engine = TorchEngine(IndexFolder(folder).read(), str(folder), place)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says; the hits are back on the CPU when it returns."""
        found: tuple[Floats, Rows] = self._engine.search(queries, k)
        return found

    def save(self, folder: Path) -> None:
        """Raise: the folder is there already."""
        raise NotImplementedError("what is searched on a device is not written by a report")


class _Flat:
    def __init__(self, embeddings: Embeddings, device: torch.device) -> None:
        self._vectors = torch.cat([torch.from_numpy(block).to(device) for block in embeddings.blocks(_BLOCK)])

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        parts = []
        for start in range(0, len(queries), 32):
            block = torch.from_numpy(queries[start : start + 32]).to(self._vectors.device)
            best = (block @ self._vectors.T).topk(k)
            parts.append((best.values.cpu().numpy(), best.indices.cpu().numpy()))
        scores, rows = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

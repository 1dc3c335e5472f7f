"""Our own indexes and uncompressed vectors as systems of a comparison: on the CPU, and on a device of torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyserini_jpq.compare.baselines.base import Built, Rows
from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.index.shards_ivf import joined
from pyserini_jpq.quantizer import Floats
from pyserini_jpq.search.open import open_index

_BLOCK = 1 << 16
_BATCH = 32


class OurBuilt(Built):
    """Any search of queries, [B, D] float32, for k hits."""

    def __init__(self, search: Callable[[Floats, int], tuple[Floats, Rows]]) -> None:
        self._search = search

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says."""
        return self._search(queries, k)


def load(folder: Path, rescore: int | None = None) -> OurBuilt:
    """Open an index folder, which is searched as by `JPQFaissSearcher`; `rescore` hits are scored again."""
    return OurBuilt(open_index(folder, rescore=rescore).search)


def on_device(folder: Path, device: str) -> OurBuilt:
    """Copy an index folder, or a folder of embeddings, to a device; hits come back to the CPU.

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
    import torch

    from pyserini_jpq.encode.precision import resolve_device
    from pyserini_jpq.search.engines.torch import TorchEngine

    place = resolve_device(device)
    if not (folder / MANIFEST).is_file():
        index = open_folder(folder)
        indexes = [part.read() for part in index.parts]
        return OurBuilt(TorchEngine(joined(index, indexes), str(folder), place).search)
    # Copies: what is mapped cannot be written to, of which torch warns.
    vectors = torch.cat([torch.from_numpy(block.copy()).to(place) for block in Embeddings(folder).blocks(_BLOCK)])

    def search(queries: Floats, k: int) -> tuple[Floats, Rows]:
        parts = [queries[start : start + _BATCH] for start in range(0, len(queries), _BATCH)]
        best = [(torch.from_numpy(part).to(place) @ vectors.T).topk(k) for part in parts]
        scores, rows = (np.concatenate([found[i].cpu().numpy() for found in best]) for i in range(2))
        return scores, rows

    return OurBuilt(search)

"""Signs of all dimensions: candidates by Hamming distance, then the query's own values against the signs."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.compare.baselines.base import UNEQUAL, Built, Engine, Rows, Settings
from pyserini_jpq.quantizer import Codes, Floats

_CANDIDATES = 4


class BinaryBuilt(Built):
    """A binary index of faiss, whose candidates are scored again (Yamada et al., ACL 2021).

    Parameters
    ----------
    index
        `IndexBinaryFlat`.
    dimension
        D; the index has a multiple of 8.
    """

    def __init__(self, index: Any, dimension: int) -> None:
        import faiss

        self.index = index
        self._dimension = dimension
        codes = faiss.rev_swig_ptr(index.xb.data(), index.ntotal * index.code_size)
        self._codes: Codes = codes.reshape(index.ntotal, index.code_size)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Search as `Built.search` says; four candidates for each hit are scored."""
        k = min(k, self.index.ntotal)
        candidates = self.index.search(_signs(queries), min(_CANDIDATES * k, self.index.ntotal))[1]
        scores = np.empty((len(queries), k), dtype=np.float32)
        rows = np.empty((len(queries), k), dtype=np.int64)
        for i, (query, found) in enumerate(zip(queries, candidates, strict=True)):
            bits = np.unpackbits(self._codes[found], axis=1, count=self._dimension)
            values = bits.astype(np.float32) @ (2 * query) - query.sum()
            best = np.argsort(-values, kind="stable")[:k]
            scores[i], rows[i] = values[best], found[best]
        return scores, rows

    def save(self, folder: Path) -> None:
        """Write faiss's file, and D."""
        import faiss

        faiss.write_index_binary(self.index, str(folder / "index"))
        np.save(folder / "dimension.npy", self._dimension)


def build(vectors: Floats, _: Settings) -> BinaryBuilt:
    """Build the index of vectors, [N, D] float32."""
    import faiss

    codes = _signs(vectors)
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)
    return BinaryBuilt(index, vectors.shape[1])


def load(folder: Path) -> BinaryBuilt:
    """Open what `BinaryBuilt.save` wrote."""
    import faiss

    return BinaryBuilt(faiss.read_index_binary(str(folder / "index")), int(np.load(folder / "dimension.npy")))


def _signs(vectors: Floats) -> Codes:
    return np.packbits(vectors > 0, axis=1)


ENGINES = (Engine("binary", "Binary, re-scored", "compressed", build, load, lambda d, _: (d + 7) // 8, UNEQUAL),)

"""Some consecutive rows of embeddings, as if they were all."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.row_files import forget


class EmbeddingsPart(Embeddings):
    """Consecutive rows of a folder of embeddings; a sample is that of the whole.

    Parameters
    ----------
    whole
        The embeddings.
    rows
        The rows of this part.
    """

    _coded = False  # unless the whole has codes in place of vectors

    def __init__(self, whole: Embeddings, rows: range) -> None:
        vars(self).update(vars(whole))
        self._whole, self._rows, self.documents = whole, rows, len(rows)
        self._files = [file for file in self._files if file.start < rows.stop and rows.start < file.start + file.rows]

    def __reduce__(self) -> tuple[type["EmbeddingsPart"], tuple[Embeddings, range]]:  # type: ignore[override]  # as it is made
        """Pickle the whole and the rows."""
        return EmbeddingsPart, (self._whole, self._rows)

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield the rows of this part as `Embeddings.blocks`."""
        for file in self._files:
            first, end = max(0, self._rows.start - file.start), min(file.rows, self._rows.stop - file.start)
            array = self._map(file)
            for start in range(first, end, rows):
                block = array[start : min(start + rows, end)]
                yield block if self._coded else self._finite(np.asarray(block, dtype=np.float32), file, start)
            forget(array)

    def sample(self, rows: int, seed: int) -> np.ndarray:
        """Return a random sample of the whole."""
        return self._whole.sample(rows, seed)

    def docids(self) -> Iterator[str]:
        """Yield the docids of this part in row order."""
        before = self._rows.start - self._files[0].start if self._files else 0
        return islice(super().docids(), before, before + self.documents)

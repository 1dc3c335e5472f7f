"""What every baseline is: an engine that builds an index of embeddings, and the index it builds."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.compare.baselines.supervision import Supervision
from pyserini_jpq.errors import InstallationError
from pyserini_jpq.quantizer import Floats

Rows = NDArray[np.int64]
Kind = Literal["exhaustive", "compressed", "non-exhaustive"]

OPQ_SAMPLE = 16384
"""Vectors that an OPQ rotation is trained on; the centroids after it see all of faiss's own sample."""


@dataclass(frozen=True)
class Settings:
    """How baselines are built.

    Attributes
    ----------
    bytes_per_document
        Size of a code, for the engines that can choose it.
    seed
        Of all that is random.
    cache
        A folder for what several engines share (the OPQ rotation); None trains it for each.
    supervision
        What supervised engines learn from.
    """

    bytes_per_document: int = 24
    seed: int = 42
    cache: Path | None = None
    supervision: Supervision | None = None


class Built(ABC):
    """An index of a baseline, ready to search."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Return the best documents that the engine finds.

        Parameters
        ----------
        queries
            [B, D] float32.
        k
            Hits wanted.

        Returns
        -------
        scores : numpy.ndarray
            [B, k] float32, higher is better.
        rows : numpy.ndarray
            [B, k] int64; -1 where the engine finds no more.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write all that a search needs into an empty folder."""

    def set_effort(self, effort: int) -> None:
        """Set how much of the collection a search looks at, one of the engine's `efforts`."""
        raise NotImplementedError(f"{type(self).__name__} has no effort to set")


@dataclass(frozen=True)
class Engine:
    """A baseline.

    Attributes
    ----------
    name, title
        On the command line, and in a table.
    kind
        What it saves: nothing, bytes, or looks at documents.
    build
        Makes an index of vectors, [N, D] float32.
    load
        Opens what `Built.save` wrote.
    code_bytes
        Bytes of one document's code, from D and the bytes that were asked for; None where the vectors are kept whole.
    efforts
        Values for `Built.set_effort`, rising; none where there is nothing to set.
    module, extra
        The module that is needed, and the extra of this package that brings it.
    note
        What a reader should know.
    supervised
        Whether it learns from training queries.
    """

    name: str
    title: str
    kind: Kind
    build: Callable[[Floats, Settings], Built]
    load: Callable[[Path], Built]
    code_bytes: Callable[[int, int], float]
    efforts: tuple[int, ...] = ()
    module: str = "faiss"
    extra: str = "cpu"
    note: str = ""
    supervised: bool = False

    def missing(self) -> str | None:
        """Say how to get the module, or return None where it is there."""
        if importlib.util.find_spec(self.module) is not None:
            return None
        return f"needs {self.module}: pip install pyserini_jpq[{self.extra}]"

    def check(self) -> None:
        """Raise InstallationError if the module is not there."""
        if problem := self.missing():
            raise InstallationError(f"{self.name} {problem}")


def whole(dimension: int, _: int) -> float:
    """Return the bytes of an uncompressed vector."""
    return 4.0 * dimension


def asked(_: int, bytes_per_document: int) -> float:
    """Return the bytes that were asked for."""
    return float(bytes_per_document)

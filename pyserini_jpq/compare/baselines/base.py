"""The interface of baselines: an engine, which builds an index of embeddings, and the index that it builds."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import JPQError, how_to_install
from pyserini_jpq.quantizer import Floats

Rows = NDArray[np.int64]
Kind = Literal["exhaustive", "compressed", "non-exhaustive"]

WHOLE = "whole vectors"
UNEQUAL = "not of equal bytes"
POWERS = tuple(1 << i for i in range(15))
"""Values of a search parameter to try."""


@dataclass(frozen=True)
class Supervision:
    """Training queries, and which documents are relevant to which.

    Attributes
    ----------
    queries
        [Q, D] float32, by the encoder of the documents.
    pairs
        [P, 2] int64: row of a query, row of a document that is relevant to it.
    """

    queries: Floats
    pairs: NDArray[np.int64]

    def save(self, file: Path) -> None:
        """Write both into one file."""
        np.savez(file, queries=self.queries, pairs=self.pairs)

    @classmethod
    def load(cls, file: Path) -> "Supervision":
        """Read what `save` wrote."""
        with np.load(file) as held:
            return cls(held["queries"], held["pairs"])


def relevant_pairs(
    topics: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], docids: Sequence[str]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the texts of the queries that have a relevant document among the docids, and the pairs of both.

    Raises
    ------
    JPQError
        If there is no such query.
    """
    rows = {docid: row for row, docid in enumerate(docids)}
    texts: list[str] = []
    pairs: list[tuple[int, int]] = []
    for qid, text in topics.items():
        known = [rows[docid] for docid, grade in qrels.get(qid, {}).items() if grade > 0 and docid in rows]
        pairs += [(len(texts), row) for row in known]
        texts += [text] if known else []
    if not pairs:
        raise JPQError("no training query has a relevant document here; check --train-topics and --train-qrels")
    return texts, np.array(pairs, dtype=np.int64)


@dataclass(frozen=True)
class Settings:
    """How baselines are built.

    Attributes
    ----------
    bytes_per_document
        Size of a code, for the engines that can choose it.
    seed
        Seed of all that is random.
    cache
        Folder for what engines share (the OPQ rotation); None trains one for each engine.
    supervision
        Training data of supervised engines.
    """

    bytes_per_document: int = 24
    seed: int = 42
    cache: Path | None = None
    supervision: Supervision | None = None


class Built(ABC):
    """An index, ready to search."""

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

    def save(self, folder: Path) -> None:
        """Write all files that a search needs to an empty folder."""
        raise NotImplementedError(f"{type(self).__name__} is not written")

    def set_parameter(self, value: int) -> None:
        """Set the search parameter to one of the engine's `parameters`."""
        raise NotImplementedError(f"{type(self).__name__} has no search parameter")


@dataclass(frozen=True)
class Engine:
    """A baseline.

    Attributes
    ----------
    name, title
        Name on the command line, and name in a table.
    kind
        What the engine saves: nothing, bytes, or time by searching a part of the documents.
    build
        Makes an index of vectors, [N, D] float32.
    load
        Opens what `Built.save` wrote.
    code_bytes
        Bytes of one document's code, from D and the bytes that were asked for.
    parameters
        Rising values for `Built.set_parameter`; none without a search parameter.
    module, extra
        Required module, and the extra of this package that installs it.
    note
        A remark for the reader.
    supervised
        Whether it learns from training queries.
    """

    name: str
    title: str
    kind: Kind
    build: Callable[[Floats, Settings], Built]
    load: Callable[[Path], Built]
    code_bytes: Callable[[int, int], float]
    note: str = ""
    parameters: tuple[int, ...] = ()
    module: str = "faiss"
    extra: str = "cpu"
    supervised: bool = False

    def missing(self) -> str | None:
        """Return how to install the module, or None if it is installed."""
        if importlib.util.find_spec(self.module) is not None:
            return None
        return f"needs {self.module}: {how_to_install(self.extra)}"


def whole(dimension: int, _: int) -> float:
    """Return the bytes of an uncompressed vector."""
    return 4.0 * dimension


def asked(_: int, bytes_per_document: int) -> float:
    """Return the requested bytes."""
    return float(bytes_per_document)


def one_by_one(
    search: Callable[[Floats], tuple[Sequence[int], Sequence[float]]], queries: Floats, k: int
) -> tuple[Floats, Rows]:
    """Return scores and rows, [B, k], of a search that takes one query and may find fewer than k."""
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    for i, query in enumerate(queries):
        found, values = search(query)
        rows[i, : len(found)], scores[i, : len(found)] = found, values
    return scores, rows

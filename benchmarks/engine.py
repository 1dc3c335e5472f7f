"""What is measured: one way to search."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Search = Callable[[Any, int], tuple[Any, Any]]
"""Queries, [B, D] float32 or B texts, and k, to scores and rows, [B, k] or B arrays."""


@dataclass
class Engine:
    """One way to search.

    Attributes
    ----------
    name
        As it is printed.
    search
        As faiss has it.
    bytes_per_document
        Of what it keeps, whether in memory or on disk.
    exact
        The engine whose results are exact over the same documents.
    of_text
        Whether it takes texts and no vectors.
    keep
        What must live as long.
    """

    name: str
    search: Search
    bytes_per_document: float
    exact: str = "IndexPQ"
    of_text: bool = False
    keep: tuple[Any, ...] = ()

"""One row of a report: a system, what it takes and what it reaches."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

TOP = 10
"""Hits of each query that are kept, to show what was won and lost."""

FLAT = "flat"


@dataclass
class Row:
    """A system.

    Attributes
    ----------
    name, title, group
        On the command line, in tables, and of which colour (`index`, `exhaustive`, `compressed`, `non-exhaustive`,
        `device`, `run`).
    family
        Of an index: how it was trained.
    note
        What a reader should know, or why nothing was measured.
    measured
        Whether there are figures.
    code_bytes
        Bytes of one document's code or vector.
    disk_bytes, resident_bytes
        Of the whole index: its files, and the growth of resident memory while it is opened and searched.
    build_seconds
        Of a baseline, one thread.
    effort, efforts
        Of the search parameter: the value that was chosen, and what each one that was tried took and reached.
    latency, encode
        By clock `median_ms`, `p99_ms`, `count`: of a search, and of the query encoder.
    metrics, per_query
        Means, and values for each query in the order of the qrels.
    top
        Docids of the best hits by query.
    p, p_holm
        p values against the reference by metric, as they are and corrected.
    """

    name: str
    title: str
    group: str
    note: str = ""
    family: str = ""
    measured: bool = False
    code_bytes: float | None = None
    disk_bytes: int | None = None
    resident_bytes: int | None = None
    build_seconds: float | None = None
    effort: int | None = None
    efforts: list[dict[str, Any]] = field(default_factory=list)
    latency: dict[str, dict[str, float]] | None = None
    encode: dict[str, dict[str, float]] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    per_query: dict[str, list[float]] = field(default_factory=dict)
    top: dict[str, list[str]] = field(default_factory=dict)
    p: dict[str, float] = field(default_factory=dict)
    p_holm: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)

    def median(self, clock: str) -> float | None:
        """Return the median latency in milliseconds."""
        return self.latency[clock]["median_ms"] if self.latency else None


def flat_row(rows: Sequence[Row]) -> Row | None:
    """Return the uncompressed row."""
    return next((row for row in rows if row.name == FLAT and row.measured), None)

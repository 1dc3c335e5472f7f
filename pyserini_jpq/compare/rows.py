"""One row of a report: a system, its costs and its effectiveness."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

TOP = 10
"""Number of hits of each query that are kept, to show wins and losses."""

FLAT = "flat"

_KEYS = {"parameter": "effort", "tried": "efforts"}  # names of fields in `results.json`


@dataclass
class Row:
    """A system.

    Attributes
    ----------
    name, title, group
        Name on the command line, name in tables, and group in figures (`index`, `exhaustive`, `compressed`,
        `non-exhaustive`, `device`, `run`).
    family
        How an index was trained; empty for other systems.
    note
        A remark for the reader, or why nothing was measured.
    measured
        Whether there are figures.
    code_bytes
        Bytes of one document's code or vector.
    disk_bytes, resident_bytes
        Size of the index's files, and growth of resident memory while the index is opened and searched.
    build_seconds
        Seconds to build a baseline, with one thread.
    parameter, tried
        The chosen value of the search parameter, and latency and metrics for each value that was tried.
    latency, encode
        `median_ms`, `p99_ms` and `count` by timer, of a search and of the query encoder.
    metrics, per_query
        Means, and values for each query in the order of the qrels.
    top
        Docids of the best hits by query.
    p, p_holm
        p values against the reference by metric, uncorrected and corrected.
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
    parameter: int | None = None
    tried: list[dict[str, Any]] = field(default_factory=list)
    latency: dict[str, dict[str, float]] | None = None
    encode: dict[str, dict[str, float]] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    per_query: dict[str, list[float]] = field(default_factory=dict)
    top: dict[str, list[str]] = field(default_factory=dict)
    p: dict[str, float] = field(default_factory=dict)
    p_holm: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the values by their names in `results.json`."""
        return {_KEYS.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Row":
        """Return the row that `as_dict` made these values of."""
        names = {key: name for name, key in _KEYS.items()}
        return cls(**{names.get(key, key): value for key, value in values.items()})

    def median(self, timer: str) -> float | None:
        """Return the median latency in milliseconds."""
        return self.latency[timer]["median_ms"] if self.latency else None


def flat_row(rows: Sequence[Row]) -> Row | None:
    """Return the uncompressed row."""
    return next((row for row in rows if row.name == FLAT and row.measured), None)

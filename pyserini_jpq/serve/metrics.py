"""What the server counts, for Prometheus."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily

from pyserini_jpq.serve.indexes import Indexes

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server. Labels are names of routes and indexes, never anything that a request chooses."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "jpq_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram("jpq_request_seconds", "Time to answer.", ["route"], registry=self._registry)
        self._batches = Histogram(
            "jpq_batch_queries", "Queries of one search.", ["index", "method"], buckets=_SIZES, registry=self._registry
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def searched(self, index: str, method: str, queries: int) -> None:
        """Count a search."""
        self._batches.labels(index, method).observe(queries)

    def watch(self, indexes: Indexes) -> None:
        """Show also what the indexes hold, and what waits for them."""
        self._registry.register(_Sizes(indexes))

    def text(self) -> bytes:
        """Return all in the format of Prometheus."""
        return bytes(generate_latest(self._registry))


class _Sizes:
    """Reads documents and waiting queries when it is asked."""

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes

    def collect(self) -> Iterator[Any]:
        documents = GaugeMetricFamily("jpq_documents", "Documents of an index.", labels=["index"])
        waiting = GaugeMetricFamily("jpq_waiting_queries", "Queries that wait for a search.", labels=["index"])
        for name in self._indexes:
            documents.add_metric([name], len(self._indexes[name].index))
            waiting.add_metric([name], self._indexes[name].waiting)
        yield from (documents, waiting)

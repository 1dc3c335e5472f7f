"""Requests that wait together are searched as one batch, in as many batches at once as there are workers."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np

from pyserini_jpq.quantizer import Floats
from pyserini_jpq.serve.errors import OverloadError

_WORKERS = 8
_MORE = 0.02
"""Most seconds that a worker waits for as many requests as it has just answered, while another works: alone, one takes
four times as long, and the clients just answered send theirs one after the other."""

Queries = Sequence[str] | Floats
Search = Callable[[Any, int, int], Sequence[Any]]
Show = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, eq=False)
class _Request:
    queries: Queries
    hits: int
    shown: bool
    answer: "Future[list[Any]]" = field(default_factory=Future)

    @property
    def kind(self) -> tuple[bool, int, bool]:
        """What requests of one search share. Hits are not cut from more: equal scores may stand elsewhere there."""
        return isinstance(self.queries, np.ndarray), self.hits, self.shown


class Batches:
    """A queue of requests and the workers that search them, each a thread.

    A worker takes all that wait, up to a limit, as soon as it has answered those before. A lone request is searched at
    once, and batches grow with the load; only a worker that has answered several, while another is busy, gives their
    clients a moment to send the next ones. Workers share the threads of a search: a thread that computes alone waits
    for no other, whose core the connections may have.

    Parameters
    ----------
    search
        Takes texts, or vectors [B, D], a number of hits, and a number of threads; returns an answer for each query.
    show
        Takes answers and returns them with their documents. While others wait, this happens in a thread of its own: it
        may wait for the disk, and the worker searches on.
    name
        Name of the threads.
    batch
        Most queries of one search; a larger request is searched alone.
    waiting
        Most queries in the queue.
    observe
        Called with the number of queries of each search.
    threads
        Threads of all searches together.
    """

    def __init__(
        self,
        search: Search,
        show: Show,
        name: str,
        batch: int,
        waiting: int,
        observe: Callable[[int], None] = lambda count: None,
        threads: int = 1,
    ) -> None:
        self._search, self._show, self._batch, self._most, self._observe = search, show, batch, waiting, observe
        self._threads = threads
        self._queue: deque[_Request] = deque()
        self._there = threading.Condition()
        self._count = self._busy = 0
        self._closed = False
        workers = range(min(threads, _WORKERS))
        self._showing = ThreadPoolExecutor(1, f"show {name}")
        self._shown_later = threading.BoundedSemaphore(len(workers))
        self._workers = [threading.Thread(target=self._run, name=f"search {name} {i}", daemon=True) for i in workers]
        for worker in self._workers:
            worker.start()

    @property
    def waiting(self) -> int:
        """The number of queries in the queue."""
        return self._count

    def submit(self, queries: Queries, hits: int, shown: bool = False) -> "Future[list[Any]]":
        """Queue a request; the future holds an answer for each query.

        Raises
        ------
        OverloadError
            If too many queries wait, or the server stops.
        """
        request = _Request(queries, hits, shown)
        with self._there:
            if self._closed or self._count + len(queries) > self._most:
                raise OverloadError("too many requests wait already; send this one again soon")
            self._queue.append(request)
            self._count += len(queries)
            self._there.notify_all()
        return request.answer

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        with self._there:
            self._closed = True
            self._there.notify_all()
        for worker in self._workers:
            worker.join()
        self._showing.shutdown()

    def _run(self) -> None:
        before = 0
        while taken := self._take(before):
            before = len(taken)
            try:
                self._search_all(taken)
            finally:
                with self._there:
                    self._busy -= 1

    def _search_all(self, taken: list[_Request]) -> None:
        for _, requests in groupby(sorted(taken, key=lambda request: request.kind), lambda request: request.kind):
            live = [request for request in requests if request.answer.set_running_or_notify_cancel()]
            if live:
                self._answer(live)

    def _take(self, before: int) -> list[_Request]:
        """Wait for requests and return those of the next batch, given the size of the one before; none when closed."""
        taken: list[_Request] = []
        with self._there:
            self._there.wait_for(lambda: self._queue or self._closed)
            if before > 1 and self._busy:
                self._there.wait_for(lambda: len(self._queue) >= before or self._closed, _MORE)
                self._there.wait_for(lambda: self._queue or self._closed)
            size = 0
            while self._queue and (not taken or size + len(self._queue[0].queries) <= self._batch):
                taken.append(self._queue.popleft())
                size += len(taken[-1].queries)
            self._count -= size
            self._busy += bool(taken)
        return taken

    def _answer(self, requests: list[_Request]) -> None:
        try:
            share = max(1, self._threads // self._busy)
            queries, first = _joined([request.queries for request in requests]), requests[0]
            answers = self._search(queries, first.hits, share)
        except Exception as problem:
            _one_by_one(requests, problem, self._answer)
            return
        self._observe(len(answers))
        if not first.shown:
            _settle(requests, answers)
        elif self._queue and self._shown_later.acquire(blocking=False):
            self._showing.submit(self._answer_later, requests, answers)
        else:
            self._answer_shown(requests, answers)

    def _answer_later(self, requests: list[_Request], answers: Sequence[Any]) -> None:
        try:
            self._answer_shown(requests, answers)
        finally:
            self._shown_later.release()

    def _answer_shown(self, requests: list[_Request], answers: Sequence[Any]) -> None:
        try:
            shown = self._show(answers)
        except Exception as problem:
            own = dict(zip(requests, _split(requests, answers), strict=True))
            _one_by_one(requests, problem, lambda alone: self._answer_shown(alone, own[alone[0]]))
            return
        _settle(requests, shown)


def _one_by_one(requests: list[_Request], problem: Exception, answer: Callable[[list[_Request]], None]) -> None:
    """Answer requests one by one, as one that cannot be answered must not spoil the others."""
    if len(requests) == 1:
        requests[0].answer.set_exception(problem)
        return
    for request in requests:
        answer([request])


def _settle(requests: list[_Request], answers: Sequence[Any]) -> None:
    for request, own in zip(requests, _split(requests, answers), strict=True):
        request.answer.set_result(own)


def _split(requests: list[_Request], answers: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the answers of each request."""
    rest = iter(answers)
    for request in requests:
        yield list(islice(rest, len(request.queries)))


def _joined(queries: list[Any]) -> Queries:
    if isinstance(queries[0], np.ndarray):
        return np.concatenate(queries)
    return [query for several in queries for query in several]

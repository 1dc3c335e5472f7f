"""Reciprocal rank fusion of two searches of one request."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from pyserini_jpq.search.hits import Hit

FUSED = 1000
"""Hits of each search that are fused, whatever number is asked for: the best ten are the same in a list of hundred."""
_RRF = 60
"""The constant, as in Pyserini."""


def fused(
    first: "Future[list[list[Hit]]]",
    second: "Future[list[list[Hit]]]",
    hits: int,
    answer: Callable[[list[list[Hit]]], Any],
) -> "Future[Any]":
    """Return a future of what `answer` makes of the fused hits of each query, once both searches are done."""
    both: Future[Any] = Future()

    def settle(_: Any) -> None:
        if not both.set_running_or_notify_cancel():
            return
        try:
            both.set_result(answer([rrf(lists, hits) for lists in zip(first.result(), second.result(), strict=True)]))
        except BaseException as problem:
            both.set_exception(problem)

    first.add_done_callback(lambda _: second.add_done_callback(settle))
    return both


def rrf(lists: Sequence[Sequence[Hit]], hits: int) -> list[Hit]:
    """Fuse hits by the sum of 1 / (60 + rank); documents of equal scores keep the order of the lists."""
    scores: dict[str, float] = {}
    first: dict[str, Hit] = {}
    for found in lists:
        for rank, hit in enumerate(found, 1):
            first.setdefault(hit.docid, hit)
            scores[hit.docid] = scores.get(hit.docid, 0.0) + 1 / (_RRF + rank)
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:hits]
    return [dataclasses.replace(first[docid], score=scores[docid]) for docid in best]

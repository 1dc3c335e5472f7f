"""Work on the next item while this one is used."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def ahead(executor: Executor, work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """Yield what a function returns for each item; the next one is worked on meanwhile."""
    current: Future[_Out] | None = None
    try:
        for item in items:
            following = executor.submit(work, item)
            if current is not None:
                yield current.result()
            current = following
        if current is not None:
            yield current.result()
    finally:
        if current is not None:
            current.cancel()

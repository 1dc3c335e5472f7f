"""The number of threads of faiss during a search."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyserini_jpq.scan.threads import in_forked_process, usable


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Set the number of faiss's threads for a block, at most one per core.

    In a forked process it is one: with more, faiss would wait forever for threads that were not forked.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if in_forked_process() else usable(threads))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)

"""The threads of faiss: as many as a search may use, while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyserini_jpq.scan.threads import in_forked_process, usable


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Let faiss use so many threads in this thread, at most one a core; afterwards as many as before.

    In a forked process it uses one: with more, faiss waits for ever for threads that were not forked.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if in_forked_process() else usable(threads))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)

"""A limit on memory while a reader of another library is at work on a file of others."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CONSTANT = 1 << 29


@contextlib.contextmanager
def at_most(file: Path, times: int) -> Iterator[None]:
    """Let this process take so many times the size of a file and half a gigabyte; MemoryError is raised beyond.

    Where the system knows no such limit, nothing changes.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * os.sysconf("SC_PAGE_SIZE") + times * file.stat().st_size + _CONSTANT
    if before[0] != resource.RLIM_INFINITY:
        most = min(most, before[0])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

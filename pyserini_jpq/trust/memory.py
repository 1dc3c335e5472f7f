"""A limit on memory while another library reads a file from elsewhere."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CONSTANT = 1 << 29


@contextlib.contextmanager
def at_most(file: Path, times: int) -> Iterator[None]:
    """Limit the memory that this process takes to `times` the size of a file, plus half a gigabyte.

    Beyond that, MemoryError is raised. On systems without such limits, nothing changes.
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

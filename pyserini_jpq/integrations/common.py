"""What the integrations share: a framework that is missing, an index by its path, texts that must be there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pyserini_jpq.api import Index
from pyserini_jpq.errors import InstallationError, JPQError, first_line, how_to_install


@contextlib.contextmanager
def needed(extra: str) -> Iterator[None]:
    """Raise InstallationError, with the command that installs an extra, where an import inside fails."""
    try:
        yield
    except ImportError as problem:
        how = how_to_install(extra)
        raise InstallationError(f"{extra} cannot be imported ({first_line(problem)}): {how}") from problem


def as_index(index: Index | str | Path) -> Index:
    """Return an index as it is, or opened."""
    return index if isinstance(index, Index) else Index(index)


def with_texts(index: Index | str | Path) -> Index:
    """Return an index that keeps texts; raise JPQError for one that does not."""
    opened = as_index(index)
    if opened.texts is None:
        again = f"`python -m pyserini_jpq.index --index {opened.path} --texts CORPUS` keeps them"
        raise JPQError(f"{opened.path} keeps no texts, which the documents of this framework are made of; {again}")
    return opened

"""Progress bars, which callers can turn off."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

_SHOWN = ContextVar("progress", default=True)


class Progress(tqdm):  # type: ignore[type-arg]  # the class takes no parameter when it runs
    """A tqdm bar on standard error, unless bars are turned off."""

    def __init__(self, *args: Any, disable: bool = False, **options: Any) -> None:
        super().__init__(*args, disable=disable or not _SHOWN.get(), **options)  # type: ignore[call-overload]  # has an iterable or none


@contextlib.contextmanager
def progress(shown: bool) -> Iterator[None]:
    """Show or hide progress bars in a block.

    Parameters
    ----------
    shown
        Whether bars are shown; the default outside such a block is to show them.

    Examples
    --------
    >>> import pyserini_jpq as jpq
    >>> with jpq.progress(False):
    ...     index = jpq.Index.from_texts(IDS, TEXTS, encoder=ENCODER, m=4, path=FOLDER / "quiet")
    """
    before = _SHOWN.set(shown)
    try:
        yield
    finally:
        _SHOWN.reset(before)

"""Open several files of an index in one version, while another command may change it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyserini_jpq.errors import IndexFolderError, JPQError
from pyserini_jpq.files import regular
from pyserini_jpq.index.folder import IndexFolder, find_index
from pyserini_jpq.index.manifest import MANIFEST
from pyserini_jpq.index.shards import open_at
from pyserini_jpq.index.shards_file import SHARDS
from pyserini_jpq.trust.plain import MOST_BYTES

T = TypeVar("T")

_ATTEMPTS = 20


def opened(path: str | Path, read: Callable[[IndexFolder], T], verify: bool = False, whole: bool = True) -> T:
    """Return the result of `read`, which is repeated if another command changes the index meanwhile.

    Open files do not change, since files of an index are replaced and never modified.

    Parameters
    ----------
    path
        The folder.
    read
        Opens files of the index; it may be called several times.
    verify, whole
        As in `IndexFolder`.

    Raises
    ------
    IndexFolderError
        If the index cannot be opened, or keeps changing.
    """
    for _ in range(_ATTEMPTS):
        before = _manifest_of(path)
        try:
            found = read(open_at(path, verify, whole))
        except (JPQError, OSError):
            if _manifest_of(path) == before:
                raise
            continue
        if _manifest_of(path) == before:
            return found
    raise IndexFolderError(f"{path} is changed again and again while it is opened; open it when that has ended")


def open_folder(name: str | Path, whole: bool = True) -> IndexFolder:
    """Open an index folder by path, or by the name of one under `indexes/`; raises as `opened`."""
    return opened(find_index(str(name)), lambda folder: folder, whole=whole)


def _manifest_of(path: str | Path) -> bytes | None:
    name = SHARDS if (Path(path) / SHARDS).is_file() else MANIFEST
    try:
        with open(Path(path) / name, "rb", opener=regular()) as file:
            return file.read(MOST_BYTES)
    except (JPQError, OSError):
        return None

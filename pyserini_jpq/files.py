"""Writing files and folders so that they are there whole or not at all."""

import contextlib
import ctypes
import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_jpq.errors import OutputError
from pyserini_jpq.locks import BusyError
from pyserini_jpq.locks import exclusive as exclusive

if TYPE_CHECKING:
    import numpy as np

_READ_BYTES = 1 << 20
_STALE = 3600
# Of Linux's renameat2(2): paths are relative to the working folder; swap the two names.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Note on an exception what was being written: of a full disk, most libraries do not say which file it was."""
    try:
        yield
    except Exception as problem:
        problem.add_note(str(path))
        raise


@contextlib.contextmanager
def begins_again() -> Iterator[None]:
    """Tell who interrupts this block that its work is not kept; elsewhere commands go on where they stopped."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing was changed; the same command begins again") from None


def write_text_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 text file beside its place, then rename it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as partial:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


def write_json_atomically(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_array(path: Path, array: "np.ndarray") -> None:
    """Write an array as `.npy`; unlike np.save, say so in terms of the system where the disk is full."""
    import numpy as np

    array = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.reshape(-1).view(np.uint8).data)


def partial_folder(final: Path) -> Path:
    """Return the folder in which an output is prepared: beside its final place, so that a rename suffices."""
    return final.with_name(f".{final.name}.partial")


def unique_partial(final: Path) -> Path:
    """Return a name beside an output that no other process takes, not even one in another container."""
    return final.with_name(f".{final.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")


@contextlib.contextmanager
def beside(final: Path) -> Iterator[Path]:
    """Yield the name of a file beside another, for this process alone; what is left of it in the end is removed.

    So are files that a killed process left there an hour ago or earlier.
    """
    _remove_stale(final)
    partial = unique_partial(final)
    with writing(final):
        try:
            yield partial
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()


def _remove_stale(final: Path) -> None:
    for old in final.parent.glob(f".{glob.escape(final.name)}.*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _STALE:
                remove(old)


def refuse_existing(output: Path, overwrite: bool, marker: str | None = None) -> None:
    """Raise OutputError if an output is there already and must not be replaced, or could not be made.

    Parameters
    ----------
    output
        A file or a folder.
    overwrite
        Whether it may be replaced.
    marker
        A file that every folder of the kind to be written holds: a folder without it is something else, and stays.
    """
    if _holds_the_working_folder(output):
        raise OutputError(f"{output} holds the folder that the command runs in; give a folder of its own")
    parent = next((folder for folder in output.parents if folder.exists()), None)
    if parent is not None and not parent.is_dir():
        raise OutputError(f"{parent} is a file, so {output} cannot be made; give another --output")
    if not output.exists():
        return
    if not overwrite:
        raise OutputError(f"{output} exists already; give --overwrite to replace it, or another --output")
    if marker and not (output / marker).is_file() and not _is_empty_folder(output):
        raise OutputError(f"{output} holds something else (no {marker}), which is not replaced; give another --output")


def refuse_existing_file(output: Path, overwrite: bool) -> None:
    """Raise OutputError as `refuse_existing` does, for an output that is a file."""
    if output.is_dir():
        raise OutputError(f"{output} is a folder; give the name of a file")
    refuse_existing(output, overwrite)


def _holds_the_working_folder(output: Path) -> bool:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was removed
        return False
    return Path(os.path.realpath(output)) in (here, *here.parents)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def move_into_place(prepared: Path, final: Path) -> None:
    """Rename a finished folder or file to its final place; what was there stays until the last moment.

    On Linux the two are swapped in one step. Elsewhere there is a moment between two renames; if the process is killed
    in it, `put_back` brings the old one back.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    put_back(final)
    if not final.exists():
        os.rename(prepared, final)
    elif _swap(prepared, final):
        remove(prepared)
    else:
        old = _replaced(final)
        remove(old)
        os.rename(final, old)
        os.rename(prepared, final)
        remove(old)


def put_back(final: Path) -> None:
    """Bring back what `move_into_place` was about to replace, if the process was killed between its two renames."""
    if final.exists() or not _replaced(final).exists():
        return
    with contextlib.suppress(BusyError), exclusive(final):  # else it is being replaced just now
        if not final.exists():
            os.rename(_replaced(final), final)


def _replaced(final: Path) -> Path:
    return final.with_name(f".{final.name}.replaced")


def _swap(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where system or file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    done: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def link_or_copy(file: Path, target: Path) -> None:
    """Give a file a second name, without a second copy where the disk can do that."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(final: Path, overwrite: bool, marker: str | None = None) -> Iterator[Path]:
    """Yield an empty folder to write into; it becomes `final` when the block ends well, and vanishes when it does not.

    Raises
    ------
    OutputError
        If `final` exists and `overwrite` is false, or another process writes it.
    """
    refuse_existing(final, overwrite, marker)
    with exclusive(final):
        refuse_existing(final, overwrite, marker)  # another process may have finished it since
        prepared = partial_folder(final)
        remove(prepared)
        prepared.mkdir(parents=True)
        try:
            with writing(final):
                yield prepared
        except BaseException:
            remove(prepared)
            raise
        move_into_place(prepared, final)

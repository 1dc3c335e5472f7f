"""Open files of others, which may be pipes and devices; write files and folders atomically."""

import contextlib
import ctypes
import glob
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_jpq.errors import JPQError, OutputError
from pyserini_jpq.locks import BusyError
from pyserini_jpq.locks import exclusive as exclusive

if TYPE_CHECKING:
    import numpy as np

_STALE = 3600
# Flags of Linux's renameat2(2): paths relative to the working folder, swap two names.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def regular(error: type[JPQError] = JPQError) -> Callable[[str, int], int]:
    """Return an opener for `open(path, opener=...)` that raises `error` for a pipe, a device or a socket.

    A pipe would let the reader wait for ever, and a device such as /dev/zero never ends. Links are followed.

    Parameters
    ----------
    error
        What is raised; a folder or a missing file is left to `open`.
    """

    def opener(path: str, flags: int) -> int:
        check_regular(Path(path), error)
        file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)  # a pipe that came meanwhile opens at once
        try:
            _check_kind(path, os.fstat(file), error)
        except BaseException:
            os.close(file)
            raise
        return file

    return opener


def check_regular(path: Path, error: type[JPQError] = JPQError, most: int | None = None) -> None:
    """Raise `error` for a pipe, a device or a socket, before a library opens the file.

    Parameters
    ----------
    path
        The file; nothing is raised if it is missing, or a folder.
    error
        What is raised.
    most
        Most bytes of the file.
    """
    try:
        found = path.stat()
    except OSError:
        return
    _check_kind(path, found, error)
    if most is not None and stat.S_ISREG(found.st_mode) and found.st_size > most:
        raise error(f"{path} has {found.st_size} bytes, more than such a file needs; copy it again")


def _check_kind(path: str | Path, found: os.stat_result, error: type[JPQError]) -> None:
    if kind := _KINDS.get(stat.S_IFMT(found.st_mode)):
        raise error(f"{path} is {kind}, not a file; put a regular file in its place")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb", opener=regular()) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Note on an exception which file was being written, which most libraries do not say of a full disk."""
    try:
        yield
    except Exception as problem:
        problem.add_note(str(path))
        raise


@contextlib.contextmanager
def begins_again() -> Iterator[None]:
    """Say on Ctrl-C that the work of this block is not kept; elsewhere commands resume."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing was changed; the same command begins again") from None


def write_text_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as partial:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


def write_json_atomically(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_array(path: Path, array: "np.ndarray") -> None:
    """Write an array as `.npy`; unlike np.save, keep the system's error on a full disk."""
    import numpy as np

    array = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.reshape(-1).view(np.uint8).data)


def partial_folder(final: Path) -> Path:
    """Return the folder in which an output is prepared: beside its final path, so that a rename suffices."""
    return final.with_name(f".{final.name}.partial")


@contextlib.contextmanager
def beside(final: Path) -> Iterator[Path]:
    """Yield a path for a file or folder beside another, for this process alone; what is there at the end is removed.

    Files that killed processes left an hour ago or earlier are removed as well.
    """
    _remove_stale(final)
    # A process in another container may have the same id.
    partial = final.with_name(f".{final.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    with writing(final):
        try:
            yield partial
        finally:
            with contextlib.suppress(OSError):
                remove(partial)


def _remove_stale(final: Path) -> None:
    for old in final.parent.glob(f".{glob.escape(final.name)}.*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _STALE:
                remove(old)


def refuse_existing(output: Path, overwrite: bool, marker: str | None = None) -> None:
    """Raise OutputError if an output exists and may not be replaced, or cannot be created.

    Parameters
    ----------
    output
        A file or a folder.
    overwrite
        Whether it may be replaced.
    marker
        A file in every folder of the type to be written: a folder without it is never replaced.
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
    """Raise OutputError as `refuse_existing`, for an output that is a file."""
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
    """Rename a finished folder or file to its final path, in place of an old one.

    On Linux the two are swapped atomically. Elsewhere there are two renames; if the process is killed between them,
    `put_back` restores the old one.
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
    """Restore the old file or folder, if a process was killed between the two renames of `move_into_place`."""
    if final.exists() or not _replaced(final).exists():
        return
    with contextlib.suppress(BusyError), exclusive(final):  # else it is being replaced just now
        if not final.exists():
            os.rename(_replaced(final), final)


def _replaced(final: Path) -> Path:
    return final.with_name(f".{final.name}.replaced")


def _swap(one: Path, other: Path) -> bool:
    """Swap two paths atomically; return False if the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    done: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def link_or_copy(file: Path, target: Path) -> None:
    """Link a file to a second path, or copy it where the file system has no links."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(final: Path, overwrite: bool, marker: str | None = None) -> Iterator[Path]:
    """Yield an empty folder to write to; it becomes `final` if the block succeeds, else it is removed.

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

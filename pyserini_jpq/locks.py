"""One writer at a time: a lock file beside an output, which the kernel releases when its process ends."""

import contextlib
import errno
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pyserini_jpq.errors import OutputError

_SHOWN = 160
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_BEHIND_THE_TEXT = 1 << 30

_ENDING = 10.0
"""Seconds that the commands of a holder that was killed get to end."""

_held: dict[tuple[Path, int, int], int] = {}
"""Descriptor by lock file, process and thread: its holder may take it again, a child or another thread may not."""


class BusyError(OutputError):
    """Another process writes this output."""


@contextlib.contextmanager
def exclusive(output: Path, what: str | None = None, shared: bool = False) -> Iterator[None]:
    """Lock an output against other writers during a block; raises at once if it is locked.

    The lock file names process, host and command. One of a dead process does not block, since the lock is the kernel's;
    only commands that it started with `held_files` do, which end with it.
    Readers need no lock: outputs are replaced by a rename.

    Parameters
    ----------
    output
        A file or a folder, which need not exist.
    what
        Name of the output in errors; its path by default.
    shared
        Allow other shared locks: several shards of one folder.

    Raises
    ------
    BusyError
        If another process, or another thread of this one, holds the lock.
    """
    path = lock_file(output)
    me = (path, os.getpid(), threading.get_ident())
    if me in _held:
        yield
        return
    file = _acquired(path, what or str(output), shared)
    _held[me] = file
    try:
        yield
    finally:
        _held.pop(me, None)
        _release(path, file, shared)


def held_files() -> tuple[int, ...]:
    """Return the descriptors of this process's locks: a command that inherits them holds the locks until it ends."""
    return tuple(file for (_, pid, _), file in _held.items() if pid == os.getpid())


def lock_file(output: Path) -> Path:
    """Return the lock file of an output, with links resolved.

    It is beside the output, or in it if that is a folder whose parent is not writable.
    """
    real = Path(os.path.realpath(output))
    if real.is_dir() and not os.access(real.parent, os.W_OK):
        return real / ".lock"
    return real.with_name(f".{real.name}.lock")


def _acquired(path: Path, what: str, shared: bool) -> int:
    """Return the descriptor of the locked lock file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _ENDING
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(file, shared):
                holder = _holder(file)
                if holder is not None or time.monotonic() > until:
                    holder = holder or "commands of a process that has ended"
                    raise BusyError(f"{what} is being written by {holder}; wait for it, or stop it")
                time.sleep(0.05)
            elif _is_same(file, path):
                _sign(file, shared)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder has just removed it, or was killed


def _release(path: Path, file: int, shared: bool) -> None:
    # The last holder of a shared lock removes the file.
    with contextlib.suppress(OSError):
        if not shared or _lock(file, shared=False):
            path.unlink()
    with contextlib.suppress(OSError):
        _unlock(file)  # a child that was forked may keep the file open
    os.close(file)


def _is_same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _sign(file: int, shared: bool) -> None:
    words = [os.path.basename(sys.executable or "python"), *sys.orig_argv[1:]]
    command = " ".join(shlex.join(words).split())[:_SHOWN]
    mine = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "command": command})
    with contextlib.suppress(OSError):  # on a full disk the lock holds as well
        if not shared:
            os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_END)
        os.write(file, f"{mine}\n".encode())


def _holder(file: int) -> str | None:
    """Return who holds a lock; None if all that are named have ended."""
    found: str | None = "another process"  # which has just taken it
    for line in os.pread(file, 1 << 16, 0).splitlines():
        try:
            held = json.loads(line)
            pid, is_here = int(held["pid"]), held["host"] == socket.gethostname()
            if not is_here or _is_alive(pid):  # some holders of a shared lock may have ended
                return f"process {pid}{'' if is_here else ' on ' + held['host']} ({held['command']})"
            found = None
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
    return found


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, shared: bool) -> bool:
        os.lseek(file, _BEHIND_THE_TEXT, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: int) -> None:
        os.lseek(file, _BEHIND_THE_TEXT, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(file: int, shared: bool) -> bool:
        """Return whether the lock was taken; true on a file system without locks."""
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno in _TAKEN:
                return False
            if problem.errno not in _NO_LOCKS:
                raise
        return True

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)

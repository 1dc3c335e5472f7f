"""Shared parts of the commands: one-line errors, exit statuses, Ctrl-C."""

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import FrameType
from typing import NoReturn

from pyserini_jpq.errors import JPQError, causes, one_line

LOG = logging.getLogger("pyserini_jpq")
_COMMAND = ContextVar("command", default=False)
"""Whether a command runs: functions that are called from Python never ask."""

EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 130

_NO_ROOM = {
    errno.ENOSPC: "no space left on the disk{where}; free some",
    errno.EDQUOT: "no space left on the disk{where}; free some",
    errno.EFBIG: "a file is larger than files may be here (ulimit -f){where}; allow larger ones",
}
"""Messages for a full disk, quota or file size limit."""
_WRONG_PLACE = (
    *(errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EIO),
)


class _DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of a flag if there is one and the help does not already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []) or "(default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(EXIT_WRONG_INPUT, f"{self.prog}: error: {one_line(message)} (--help lists the flags)\n")


def parser(command: str, description: str) -> OneLineParser:
    """Return the parser of `python -m pyserini_jpq.COMMAND`."""
    return OneLineParser(
        prog=f"python -m pyserini_jpq.{command}",
        description=description,
        formatter_class=_DefaultsFormatter,
    )


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1, as an argparse type."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def seed(text: str) -> int:
    """Parse a whole number from 0 to 2^31 - 1, the range of NumPy, faiss and torch, as an argparse type."""
    value = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**31 - 1}")
    return value


def positive_float(text: str) -> float:
    """Parse a number above 0, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def warn(message: str) -> None:
    """Log a warning of one line; commands print it to standard error."""
    LOG.warning(message)


def say(message: str) -> None:
    """Log a line of progress; commands print it to standard error, as standard output is for results."""
    LOG.info(message)


def consent(yes: bool) -> Callable[[str], None]:
    """Return a function that asks the user for consent to long work.

    Parameters
    ----------
    yes
        Whether the user has consented already.

    Returns
    -------
    Callable
        Takes a description of the work; raises JPQError without consent.
    """

    def ask(what: str) -> None:
        if yes:
            return say(what)
        if not (_COMMAND.get() and sys.stdin and sys.stdin.isatty()):
            raise JPQError(f"{what}; give --yes to go on")
        print(f"{what}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise JPQError("nothing was fetched or built")

    return ask


class _Handler(logging.Handler):
    """Writes to the current `sys.stderr`, which tests and notebooks replace."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        kind = "warning: " if record.levelno >= logging.WARNING else ""
        print(f"{kind}{record.getMessage()}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _spoken() -> Iterator[None]:
    """Print log messages during a command; functions that are called from Python leave logging to the caller."""
    handler, before = _Handler(), (LOG.level, LOG.propagate)
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    command = _COMMAND.set(True)
    try:
        yield
    finally:
        _COMMAND.reset(command)
        LOG.removeHandler(handler)
        LOG.setLevel(before[0])
        LOG.propagate = before[1]


def run(main: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    main
        The command; takes the arguments without the program's name.
    argv
        The arguments; by default those of the process.

    Returns
    -------
    int
        0 when done, 2 when the request or its input is wrong (one line on standard error), 130 when interrupted.
        A fault of ours raises: Python prints a traceback and exits with status 1.
    """
    # Idle threads of OpenMP would busy-wait. The variable is read when faiss or torch is loaded, which no command does
    # before this (`python -m benchmarks.threads` measures it).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_standard_streams()
    try:
        with _interrupted_by_sigterm(), _spoken():
            main(sys.argv[1:] if argv is None else argv)
    except JPQError as error:
        return _fail(str(error))
    except KeyboardInterrupt as interrupt:
        detail = str(interrupt) or "the same command goes on where it stopped"
        print(f"\ninterrupted: {detail}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has ended; without this, closing standard output fails again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        problem = _problem_of_the_machine(error)
        if problem is None:
            raise
        return _fail(problem)
    return 0


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Handle SIGTERM, from a scheduler or a container, as Ctrl-C in a block."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None is a handler that is not Python's


def _open_standard_streams() -> None:
    """Open streams that the shell has closed (`2>&-`); else the next file gets their number and our output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # Takes the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            # Not by number, which a library may have taken before.
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115


def _problem_of_the_machine(error: Exception) -> str | None:
    """Return a message for a problem of the disk or a path; None for other errors."""
    # torch raises another exception while it closes a file that it could not write.
    if full := next((cause for cause in causes(error) if _no_room(cause)), None):
        # Notes name what was being written (`files.writing`).
        place = next(iter(getattr(error, "__notes__", ())), None) or getattr(full, "filename", None)
        said = _NO_ROOM[_no_room(full)].format(where=f" for {place}" if place else "")
        return f"{said}, then run the same command again"
    if isinstance(error, OSError) and error.errno in _WRONG_PLACE and error.filename:
        return f"{error.filename}: {error.strerror}; choose a place that can be read and written"
    return None


def _no_room(error: BaseException) -> int:
    """Return the error number of a file that cannot grow; 0 for another error."""
    # safetensors, faiss and torch raise their own exceptions on a full disk, which quote the system's message.
    return next((n for n in _NO_ROOM if getattr(error, "errno", None) == n or os.strerror(n) in str(error)), 0)


def _fail(message: str) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return EXIT_WRONG_INPUT


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt

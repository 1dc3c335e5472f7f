"""Steps of a pipeline: commands that run once, each in a process that ends with this one."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import IO

from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import move_into_place, remove
from pyserini_jpq.locks import held_files

_PATIENCE = 60  # seconds that a command gets to write a checkpoint
# Linux ends the command with the process that started it; exec keeps the request.
_LEASH = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def make(
    output: Path, command: str, is_made: Callable[[Path], bool] = Path.exists, run: Callable[[str], None] | None = None
) -> bool:
    """Run a command unless its output exists, and return whether it ran.

    Parameters
    ----------
    output
        The command's output.
    command
        The command. If it may leave an incomplete output, it writes to `$partial`, which is then renamed.
    is_made
        Returns whether the output is complete.
    run
        Runs the command; `run_command` by default.

    Raises
    ------
    JPQError
        If the command fails, or writes no output.
    """
    if is_made(output):
        return False
    # Not the name from which our commands resume.
    partial = output.with_name(f".{output.name}.unfinished")
    remove(partial)
    output.parent.mkdir(parents=True, exist_ok=True)
    words = Template(command).safe_substitute(partial=shlex.quote(str(partial)))
    (run or run_command)(words)
    if partial.exists():
        move_into_place(partial, output)
    if not is_made(output):
        raise JPQError(f"{words} ended well, but there is no {output}; correct the command")
    return True


def run_command(command: str) -> None:
    """Print a command line and run it with this Python as `python`; raise JPQError if it fails."""
    cli.say(f"\n$ {command}")
    words = shlex.split(command)
    status = run([sys.executable, *words[1:]] if words[0] == "python" else words)
    if status:
        raise JPQError(f"`{command}` ended with status {status}; the same command goes on from there")


def run(words: Sequence[str], environment: Mapping[str, str] | None = None, log: IO[bytes] | None = None) -> int:
    """Run a command and return its exit status; it ends at the latest with this process.

    Parameters
    ----------
    words
        Program and arguments.
    environment
        Environment variables besides those of this process.
    log
        File for its output; by default it shares ours.

    Raises
    ------
    JPQError
        If there is no such program.
    """
    if shutil.which(words[0]) is None:
        raise JPQError(f"there is no command {words[0]!r}; correct it, or install it")
    if sys.platform == "linux":
        words = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *words]
    process = subprocess.Popen(
        words, env={**os.environ, **(environment or {})}, stdout=log, stderr=log, pass_fds=held_files()
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise

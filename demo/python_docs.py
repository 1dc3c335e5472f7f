"""The demo's collection: the documentation of the running Python's own standard library.

One document for each public module, class, function and method (property included) with a docstring. Its docid is the
dotted name that users write (`csv.writer`, `os.path.join`, `str.split` for builtins), its title the same with the
names of the parameters, its text the docstring. What is public, canonical and repeated is decided in `stdlib_walk.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from pyserini_jpq.errors import CollectionError, InstallationError
from pyserini_jpq.files import write_text_atomically

DOCUMENTS = "documents.jsonl"
WALKER = Path(__file__).with_name("stdlib_walk.py")
TIMEOUT = 300  # seconds; it takes two


def write_collection(folder: str | Path) -> int:
    """Write `folder/documents.jsonl`, one `{"id", "title", "text"}` a line, and return the number of documents.

    The same Python gives the same file, byte by byte.

    Raises
    ------
    InstallationError
        The standard library cannot be walked.
    """
    lines = _walk()
    write_text_atomically(Path(folder) / DOCUMENTS, lines)
    return lines.count("\n")


def read_collection(folder: str | Path) -> list[dict[str, str]]:
    """Return the documents that `write_collection` wrote, in the order of their docids."""
    path = Path(folder) / DOCUMENTS
    if not path.is_file():
        raise CollectionError(f"{path}: not there; write_collection({str(folder)!r}) makes it")
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _walk() -> str:
    """Run the walker in a process of its own and return its output, the collection.

    Isolated (-I) and without site-packages (-S), so that neither the environment (PYTHONOPTIMIZE strips docstrings) nor
    what is installed (setuptools replaces distutils) changes the collection; without a terminal and a display.
    """
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-W", "ignore", str(WALKER)]
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    what = f"{sys.executable}: cannot document its standard library"
    remedy = "use a complete Python 3.11 to 3.13"
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallationError(f"{what}: {error}; {remedy}") from None
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise InstallationError(f"{what}: {reason[-1]}; {remedy}")
    return done.stdout.decode()

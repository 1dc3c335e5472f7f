"""Import a module of pyserini with a JVM, or say in one line why that is not possible."""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from typing import Any

from pyserini_jpq.compat import java
from pyserini_jpq.errors import InstallationError, JPQError, how_to_install

OLDEST_PYSERINI = (1, 6)
OLDEST_NUMPY = (2,)
FAISS_DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12")


def load(name: str) -> Any:
    """Import and return a module of pyserini, of any version from 1.6 on.

    Raises
    ------
    InstallationError
        If Java, pyserini or something that it needs is missing or of a version that does not work.
    """
    _check_packages()
    if name == "pyserini.search.faiss":
        check_faiss()
    if name in sys.modules:
        return sys.modules[name]
    try:
        java.prepare()
        return importlib.import_module(name)
    except JPQError:
        raise
    except Exception as error:
        raise InstallationError(_diagnosis(error)) from error


@cache
def check_faiss() -> None:
    """Check that faiss is installed, once.

    Raises
    ------
    InstallationError
        If it is missing, or there twice: its CPU and GPU wheels overwrite each other's files.
    """
    found = [name for name in FAISS_DISTRIBUTIONS if _version(name)]
    if len(found) > 1:
        raise InstallationError(
            f"{' and '.join(found)} are both installed and overwrite each other; "
            f"run `pip uninstall -y {' '.join(found)}`, then, with cpu or gpu, {how_to_install('cpu')}"
        )
    if importlib.util.find_spec("faiss") is None:
        raise InstallationError(
            f"faiss is not installed; run {how_to_install('cpu')}; for an NVIDIA GPU with gpu, never both"
        )


def java_exception() -> type[Exception]:
    """Return the class of Java's exceptions; the JVM must run."""
    from jnius import JavaException

    exception: type[Exception] = JavaException
    return exception


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what Python and Java print on standard output, which is for results, to standard error."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)  # Java writes to the file descriptor itself
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


@cache
def _check_packages() -> None:
    found = _version("pyserini")
    if found is None:
        raise InstallationError("pyserini is not installed; run `pip install 'pyserini>=1.6'`")
    if _numbers(found) < OLDEST_PYSERINI:
        raise InstallationError(f"pyserini {found} is too old; run `pip install --upgrade 'pyserini>=1.6'`")
    numpy = _version("numpy")
    if numpy is not None and _numbers(numpy) < OLDEST_NUMPY:
        raise InstallationError(f"numpy {numpy} is too old for pyserini {found}; run `pip install 'numpy>=2'`")


def _diagnosis(error: Exception) -> str:
    """Return one line on why pyserini cannot be imported, and what to do."""
    what = f"pyserini {_version('pyserini')} cannot be imported: "
    message = " ".join(str(error).split())
    if type(error).__module__.partition(".")[0] == "openai":
        return (
            f"{what}it makes an OpenAI client at once, which openai {_version('openai')} refuses without a key; "
            "run `pip install 'openai>=2.12,<2.34'`"
        )
    if isinstance(error, ModuleNotFoundError):
        return f"{what}it needs the module {error.name}; run `pip install --force-reinstall -e .` in the checkout"
    if isinstance(error, OSError):
        return f"{what}{message}; a file or the network that it needs at once cannot be reached"
    return f"{what}{type(error).__name__}: {message}; `pip check` shows which versions do not fit together"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])

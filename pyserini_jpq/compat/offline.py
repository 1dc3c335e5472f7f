"""Import pyserini 2.x without a network.

In 2.4.0, `pyserini.prebuilt_index_info` fetches lists of prebuilt indexes while it is imported, to fill two aliases.
Without a network the whole of pyserini would be lost for that. Here the import then goes on without these aliases; all
other lists stay as they are, fetched when they are used.
"""

import io
import json
import urllib.request
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.errors import InstallationError

_MOST_NAMES = 50


def load(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Execute the module `pyserini.prebuilt_index_info`, without its catalogue if that cannot be fetched.

    Raises
    ------
    InstallationError
        If it needs more of the catalogue than a few names.
    """
    try:
        execute(module)
    except OSError as error:
        _load_without(execute, module, error)
        cli.warn(f"pyserini cannot fetch its list of prebuilt indexes ({_reason(error)}); it goes on without them")


def _load_without(execute: Callable[[ModuleType], None], module: ModuleType, reason: OSError) -> None:
    """Execute the module with placeholders for the names that it looks up at once, then take these out again."""
    placeholders: dict[str, dict[str, Any]] = {}
    urlopen = urllib.request.urlopen
    urllib.request.urlopen = lambda *_, **__: io.BytesIO(json.dumps(list(placeholders.values())).encode())
    try:
        while not _executed(execute, module, placeholders, reason):
            pass
    finally:
        urllib.request.urlopen = urlopen
    vars(module)["urlopen"] = urlopen
    for value in list(vars(module).values()):
        if isinstance(value, dict):
            for alias in [key for key, index in value.items() if _is_placeholder(index)]:
                del value[alias]
        elif getattr(value, "_info", None) is not None:
            value._info = None  # fetched again, and in truth, when it is used


def _executed(
    execute: Callable[[ModuleType], None], module: ModuleType, placeholders: dict[str, dict[str, Any]], reason: OSError
) -> bool:
    try:
        execute(module)
    except KeyError as missing:
        name = str(missing.args[0])
        if name in placeholders or len(placeholders) >= _MOST_NAMES:
            raise _unreachable(reason) from reason
        placeholders[name] = {"name": name, "description": "", "filename": "", "urls": [], "md5": "", "size": 0}
        return False
    except (TypeError, ValueError):
        raise _unreachable(reason) from reason
    return True


def _is_placeholder(index: Any) -> bool:
    return isinstance(index, dict) and index.get("urls") == [] and index.get("md5") == ""


def _unreachable(reason: OSError) -> InstallationError:
    return InstallationError(
        f"pyserini fetches its list of prebuilt indexes while it is imported, and cannot ({_reason(reason)}); "
        "connect to the network, or install a version that does not: pip install 'pyserini==1.6.0'"
    )


def _reason(error: OSError) -> object:
    return getattr(error, "reason", error)  # a URLError says it in angle brackets

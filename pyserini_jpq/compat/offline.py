"""Import pyserini 2.x without a request to the network.

In 2.4.0, `pyserini.prebuilt_index_info` fetches lists of prebuilt indexes while it is imported, to fill two aliases.
Without a network, pyserini could not be imported at all; with a slow one, each command would wait. Here these two
aliases are looked up when they are used, as all other names already are.
"""

import contextlib
import io
import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pyserini_jpq.errors import InstallationError

_MOST_NAMES = 50

Execute = Callable[[ModuleType], None]


class _Later(Mapping[str, Any]):
    """An entry of the catalogue, fetched when something of it is asked for."""

    def __init__(self, name: str, lists: list[Any]) -> None:
        self._name, self._lists = name, lists

    def _entry(self) -> Mapping[str, Any]:
        for entries in self._lists:
            with contextlib.suppress(KeyError):
                entry: Mapping[str, Any] = entries[self._name]
                return entry
        raise KeyError(self._name)

    def __getitem__(self, key: str) -> Any:
        return self._entry()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entry())

    def __len__(self) -> int:
        return len(self._entry())


def load(execute: Execute, module: ModuleType) -> None:
    """Execute the module `pyserini.prebuilt_index_info` without a request to the network.

    Raises
    ------
    InstallationError
        If it needs more of the catalogue than a few names, and cannot fetch it.
    """
    if _executed_offline(execute, module):
        return
    try:
        execute(module)
    except OSError as error:
        raise InstallationError(
            "pyserini fetches its list of prebuilt indexes while it is imported, and cannot "
            f"({getattr(error, 'reason', error)}); connect to the network, or install a version that does not: "
            "pip install 'pyserini==1.6.0'"
        ) from error


def _executed_offline(execute: Execute, module: ModuleType) -> bool:
    """Execute the module with placeholders for the names that it looks up at once; False if that is not enough."""
    placeholders: dict[str, dict[str, Any]] = {}
    urlopen = urllib.request.urlopen
    urllib.request.urlopen = lambda *_, **__: io.BytesIO(json.dumps(list(placeholders.values())).encode())
    try:
        while (name := _missing_name(execute, module)) is not None:
            if name in placeholders or len(placeholders) >= _MOST_NAMES:
                return False
            placeholders[name] = {"name": name, "description": "", "filename": name, "urls": [], "md5": "", "size": 0}
    except (TypeError, ValueError):  # the catalogue is of another form
        return False
    finally:
        urllib.request.urlopen = urlopen
        if "urlopen" in vars(module):
            vars(module)["urlopen"] = urlopen
    if placeholders:
        _look_up_later(module)
    return True


def _missing_name(execute: Execute, module: ModuleType) -> str | None:
    try:
        execute(module)
    except KeyError as missing:
        return str(missing.args[0])
    return None


def _look_up_later(module: ModuleType) -> None:
    """Replace the placeholders in the lists of a module."""
    values = list(vars(module).values())
    lists = [value for value in values if getattr(value, "_info", None) is not None]
    for entries in lists:
        entries._info = None  # the real one is fetched when it is used
    for aliases in (value for value in values if isinstance(value, dict)):
        for alias, entry in aliases.items():
            if isinstance(entry, dict) and entry.get("urls") == [] and entry.get("md5") == "":
                aliases[alias] = _Later(entry["filename"], lists)

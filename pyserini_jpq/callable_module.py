"""Callable packages: `pyserini_jpq.encode(…)` calls `pyserini_jpq.encode.run.encode`.

Package and function have the same name, and Python keeps a single attribute for both.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(room: str, module: str, name: str) -> None:
    """Make a package callable as a function, whose module the first call imports.

    Parameters
    ----------
    room
        The package's `__name__`.
    module
        The function's module within `pyserini_jpq`, such as `encode.run`.
    name
        The function's name.
    """

    def function() -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(importlib.import_module(f"pyserini_jpq.{module}"), name)
        return found

    class Room(ModuleType):
        def __call__(self, *args: Any, **options: Any) -> Any:
            return function()(*args, **options)

        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(function())

    sys.modules[room].__class__ = Room

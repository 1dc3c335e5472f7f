"""Rooms that are called like the function they are for: `pyserini_jpq.encode(…)` is `pyserini_jpq.encode.run.encode`.

The name of a room and the name of what it does are the same word, and Python keeps a single attribute for both.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(room: str, module: str, name: str) -> None:
    """Let a package be called as a function of one of its modules, which is imported by the first call.

    Parameters
    ----------
    room
        The package's `__name__`.
    module
        The module within `pyserini_jpq`, such as `encode.run`.
    name
        The function.
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

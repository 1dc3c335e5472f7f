"""The import hook that provides pyserini with a Java and with our encoders, whoever imports it.

Until pyserini is imported, the hook costs one dictionary look-up for each import, and imports nothing.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def install_import_hook() -> None:
    """Serve every later import of pyserini and jnius in this process; a second call does nothing."""
    if any(isinstance(finder, _PyseriniFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _PyseriniFinder())
    for name in ("pyserini.encode._base", "pyserini.server.utils"):
        if (module := sys.modules.get(name)) is not None:  # imported before us, without our .pth file
            importlib.import_module(f"pyserini_jpq.compat.{_AROUND[name]}").adopt(module)


# The modules of this room that run a module in another way: by `load(execute, module)`.
_AROUND = {
    "jnius": "java",
    "pyserini.encode._base": "encoders",
    "pyserini.prebuilt_index_info": "offline",
    "pyserini.server.utils": "server",
}


class _PyseriniFinder:
    """Finds modules as the other finders do, and runs a few of them in another way."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        around = _AROUND.get(name)
        if around is None:
            return None
        # By its name: a second copy of this package may have put in a finder that asks this one in turn.
        known = (finder for finder in sys.meta_path if type(finder).__name__ != type(self).__name__)
        others = (finder for finder in known if hasattr(finder, "find_spec"))
        spec = next((spec for finder in others if (spec := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            _run_around(spec.loader, around)
        return spec


def _run_around(loader: Any, around: str) -> None:
    # The loader itself stays: importlib.resources and pkgutil ask it for more than exec_module.
    execute = loader.exec_module
    loader.exec_module = lambda module: importlib.import_module(f"pyserini_jpq.compat.{around}").load(execute, module)

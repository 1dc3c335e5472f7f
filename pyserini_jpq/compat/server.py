"""Make the REST and MCP servers of Pyserini 2 serve our indexes, by a type of their own and without misranking.

Their configuration gets the type `jpq`. The types that are there already are made safe: `faiss` opens a folder of ours
with the encoder that belongs to it, or not at all, and `tf`, which stands for any folder, refuses it in one line.
"""

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from pyserini_jpq.errors import JPQError, first_line

TYPE = "jpq"
_MANIFEST = "jpq.json"
LOG = logging.getLogger("pyserini_jpq")


class _Catalogue(Mapping[str, Any]):
    """The prebuilt indexes of a type; looked up, but not listed, are aliases too, whose texts their base index has.

    Without --no-prebuilt-indexes, the server looks an alias up here after it has opened it.
    """

    def __init__(self, known: Mapping[str, Any], bases: dict[str, str | None]) -> None:
        self._known, self._bases = known, bases

    def __getitem__(self, name: str) -> Any:
        return {"texts": self._bases[name]} if name in self._bases else self._known[name]

    def __contains__(self, name: object) -> bool:
        return name not in self._bases and name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def load(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Execute the module `pyserini.server.utils`, then put our type into its tables."""
    execute(module)
    adopt(module)


def adopt(module: ModuleType) -> None:
    """Put our type into the tables of this module; those of Pyserini 1 are others, and serve prebuilt indexes only."""
    types, factories = getattr(module, "INDEX_TYPE", {}), getattr(module, "SEARCHER_FACTORIES", {})
    if TYPE in types or not {"faiss", "tf"} <= set(factories):
        return
    bases: dict[str, str | None] = {}
    faiss, lucene = factories["faiss"], factories["tf"]
    for kind in ("faiss", TYPE):
        types[kind] = _Catalogue(types.get(kind, {}), bases)
    options = partial(_options, bases)
    factories[TYPE] = _ours, _no_prebuilt, options
    factories["faiss"] = partial(_ours_or, faiss[0]), partial(_prebuilt, faiss[1]), options
    factories["tf"] = partial(_not_ours, lucene[0]), lucene[1], lucene[2]


def _options(bases: dict[str, str | None], config: Any) -> dict[str, Any]:
    if config.path:
        bases[config.name] = config.base_index
    return {"query_encoder": config.encoder, "has_base": bool(config.base_index)}


def _ours(path: str, query_encoder: str | None, has_base: bool, needs_texts: bool = True) -> Any:
    """Open an index of ours with its own encoder; another one is checked against the index."""
    try:
        module = importlib.import_module("pyserini_jpq.search.pyserini_server")
        return module.opened(path, query_encoder, has_base, needs_texts)
    except JPQError as problem:
        raise _refusal(f"{path} cannot be served: {first_line(problem)}") from problem


def _ours_or(other: Callable[..., Any], path: str, query_encoder: str | None, has_base: bool) -> Any:
    if (Path(path) / _MANIFEST).is_file():
        return _ours(path, query_encoder, has_base, needs_texts=False)  # as Pyserini's own type
    return other(path, query_encoder=query_encoder)


def _prebuilt(other: Callable[..., Any], name: str, query_encoder: str | None, has_base: bool) -> Any:
    return other(name, query_encoder=query_encoder)


def _no_prebuilt(name: str, **_: Any) -> Any:
    raise _refusal(f"no prebuilt index of the type {TYPE} is named {name}; give its folder in the configuration")


def _not_ours(other: Callable[..., Any], path: str, **options: Any) -> Any:
    if (Path(path) / _MANIFEST).is_file():
        raise _refusal(f"{path} is a JPQ index; name it in the --config, with `index_type: {TYPE}`")
    return other(path, **options)


def _refusal(line: str) -> Exception:
    """Return what the server answers as a bad request; it may hide the line, so it is logged, too."""
    LOG.error(line)
    refusal: Exception = importlib.import_module("pyserini.server.errors").IndexNotAvailableError(line)
    return refusal

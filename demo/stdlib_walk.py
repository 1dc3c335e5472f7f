"""Walks the standard library of the Python that runs it and writes one document a documented object.

Run as a script in an interpreter of its own (see `python_docs.py`): it imports some 600 modules, with which no other
process should have to live. It uses the standard library alone.
"""

import builtins
import functools
import importlib
import inspect
import json
import os
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

# Left out: jokes and programs that act when imported; what not every build has (Tk) or setuptools replaces (distutils);
# implementations of what is documented under another name (os.path, xml.parsers.expat, re); tables.
SKIPPED = frozenset({"antigravity", "this", "idlelib", "lib2to3", "turtledemo", "turtle", "tkinter", "distutils"})
SKIPPED |= {"posix", "nt", "posixpath", "ntpath", "genericpath", "nturl2path", "pyexpat", "opcode", "pydoc_data"}
SKIPPED |= {"sre_compile", "sre_constants", "sre_parse", "xxlimited", "xxlimited_35", "xxsubtype"}
SKIPPED_PARTS = frozenset({"test", "tests", "idle_test"})
TABLES = frozenset({"encodings"})  # packages whose submodules are generated tables with one docstring for all

# Other names of bases, whose methods users know from the subclass (`socket.socket.connect`).
ALIASES = frozenset({"socket.SocketType"})

# Where C implementations, whose names are no help, are documented.
PUBLIC_HOME = {"posix": "os", "nt": "os", "posixpath": "os.path", "ntpath": "os.path", "genericpath": "os.path"}
PUBLIC_HOME |= {"pyexpat": "xml.parsers.expat", "_collections_abc": "collections.abc", "_thread": "threading"}

# Docstrings that a class or function gets without anybody having written one.
BOILERPLATE = re.compile(r"Alias for field number \d+|A generic version of \S+|An enumeration\.?")
MAX_TITLE = 100  # characters

_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}

_METHOD_TYPES = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    classmethod,
    staticmethod,
    property,
    functools.cached_property,
)


def modules() -> Iterator[types.ModuleType]:
    """Yield the public modules that can be imported here, in the order of their names."""
    for name in sorted(sys.stdlib_module_names):
        if not name.startswith("_") and name not in SKIPPED:
            yield from _with_submodules(name)


def _with_submodules(name: str) -> Iterator[types.ModuleType]:
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit):
        return  # another platform's, or built without the C library it needs
    yield module
    if name == "os":
        yield sys.modules["os.path"]
    if name in TABLES:
        return
    for child in sorted(info.name for info in pkgutil.iter_modules(getattr(module, "__path__", []))):
        if not child.startswith("_") and child not in SKIPPED_PARTS:
            yield from _with_submodules(f"{name}.{child}")


def public_name(module: types.ModuleType) -> str:
    """Return the name under which users know a module: `os.path`, whatever the platform."""
    return PUBLIC_HOME.get(module.__name__, module.__name__)


def members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the public names of a module with their values.

    They are those of its `__all__` (all of `builtins`), or, without one, what it defines itself; and what a package
    takes from its own submodules (`asyncio.TaskGroup`, which Python 3.11 forgot in `__all__`).
    """
    listed = set(vars(module) if module is builtins else getattr(module, "__all__", ()))
    here = public_name(module)
    for name in sorted(listed.union(vars(module))):
        try:
            value = getattr(module, name)
        except AttributeError:
            continue
        if name.startswith("_") or isinstance(value, types.ModuleType) or f"{here}.{name}" in ALIASES:
            continue
        home = _home(value)
        taken = home.startswith(f"{here}.") and "._" not in home
        if name in listed or (home == here and not listed) or taken:
            yield name, value


def _home(value: Any) -> str:
    """Return the public module that a value says it is from, `csv` for what is implemented in `_csv`."""
    home = getattr(value, "__module__", None)
    if not isinstance(home, str):
        return ""
    return PUBLIC_HOME.get(home, home.lstrip("_"))


def canonical_names() -> dict[str, Any]:
    """Map the one name that users write to each public class, function and special form."""
    found: dict[tuple[int, int], tuple[Any, list[str]]] = {}
    for module in modules():
        prefix = "" if module.__name__ == "builtins" else public_name(module) + "."
        for name, value in members(module):
            if isinstance(value, type) or own_doc(value):
                found.setdefault(_identity(value), (value, []))[1].append(prefix + name)
    return {min(names, key=lambda name: _rank(value, name)): value for value, names in found.values()}


def _identity(value: Any) -> tuple[int, int]:
    """Return what two names of one object share; methods bound to objects of one class (`random.choice`) are one."""
    if isinstance(value, types.MethodType):
        return id(value.__func__), id(type(value.__self__))
    return id(value), 0


def _rank(value: Any, name: str) -> tuple[bool, bool, bool, int, int, str]:
    """Order the names of an object: builtins first, then those in the package that defines it, unaliased, short."""
    module, _, last = name.rpartition(".")
    elsewhere = module.partition(".")[0] != _home(value).partition(".")[0]
    return bool(module), elsewhere, last != getattr(value, "__name__", last), name.count("."), len(name), name


def own_doc(value: Any) -> str:
    """Return the docstring that was written for this very object, cleaned, or an empty string."""
    doc = value.__dict__.get("__doc__") if isinstance(value, type) else getattr(value, "__doc__", None)
    if isinstance(value, type) and not isinstance(doc, str):
        doc = value.__doc__  # a descriptor computes it
    if not isinstance(doc, str) or (not isinstance(value, type) and doc == type(value).__doc__):
        return ""
    text = inspect.cleandoc(doc).encode("utf-8", "replace").decode("utf-8").strip()
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return "" if _says_nothing(text, getattr(value, "__name__", "")) else text


def _says_nothing(text: str, name: str) -> bool:
    """Tell whether a docstring is one word, boilerplate, or nothing but the object's own signature."""
    if len(re.findall(r"\w+", text)) < 2 or BOILERPLATE.fullmatch(text):
        return True
    return bool(name) and re.fullmatch(rf"(\w+\.)*{re.escape(name)}\s*\(.*\)\s*(--?>\s*\S+)?", text) is not None


class Found(NamedTuple):
    """A documented object under its docid; `depth` counts the classes that its class derives from."""

    docid: str
    value: Any
    text: str
    depth: int = 0


def walk() -> Iterator[Found]:
    """Yield every module, class, function and method with its docstring; some objects more than once."""
    for module in modules():
        yield Found(public_name(module), module, own_doc(module))
    named = canonical_names()
    public = {id(value): name for name, value in named.items()}
    for name, value in named.items():
        yield Found(name, value, own_doc(value))
        if isinstance(value, type):
            yield from _methods(name, value, public)


def _methods(prefix: str, cls: type, public: dict[int, str]) -> Iterator[Found]:
    """Yield what a class defines, and what it alone inherits from bases that users do not see."""
    seen: set[str] = set()
    depth = len(inspect.getmro(cls))
    for base in _own_bases(cls, public):
        for name, raw in sorted(vars(base).items()):
            if name.startswith("_") or name in seen:
                continue
            value = raw.__func__ if isinstance(raw, classmethod | staticmethod) else raw
            if id(value) in public:
                continue  # a function or class of a module, kept as an attribute
            if isinstance(value, type) and value.__qualname__ == f"{base.__qualname__}.{name}":
                yield Found(f"{prefix}.{name}", value, own_doc(value), depth)
                yield from _methods(f"{prefix}.{name}", value, public)
            elif isinstance(raw, _METHOD_TYPES) and (text := own_doc(value)):
                seen.add(name)
                yield Found(f"{prefix}.{name}", value, text, depth)


def _own_bases(cls: type, public: dict[int, str]) -> list[type]:
    """Return the class and its bases that have no public name, without those that a public base has already."""
    ancestors = [base for base in inspect.getmro(cls)[1:] if base is not object]
    told = [base for base in ancestors if id(base) in public]
    return [cls, *(base for base in ancestors if not any(base in inspect.getmro(teller) for teller in told))]


def title(docid: str, value: Any) -> str:
    """Return the docid with the names of the parameters, as far as they fit."""
    if isinstance(value, types.ModuleType) or not callable(value):
        return docid
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except Exception:  # beyond ValueError and TypeError: 3.13 fails on the default of select.epoll.register
        return docid
    names = [_STARS.get(p.kind, "") + p.name for p in parameters if p.name not in ("self", "cls") and p.name[0] != "_"]
    if names in (["*args", "**kwargs"], ["*args", "**kwds"], ["*args"]):
        return docid
    signature = f"{docid}({', '.join(names)})"
    return signature if len(signature) <= MAX_TITLE else docid


def documents() -> list[dict[str, str]]:
    """Return the collection in the order of its docids.

    Within a package a docstring stands once: where several objects carry it (methods repeated from class to class, a
    function that is also a method, a module that repeats its class) the docid with the fewest dots stays, then that of
    the base class, then the shortest, then the first by name.
    """
    kept: dict[tuple[str, str], Found] = {}
    for found in sorted(walk(), key=lambda f: (f.docid.count("."), f.depth, len(f.docid), f.docid)):
        if found.text:
            kept.setdefault((_package(found.docid), found.text), found)
    unique = {found.docid: found for found in reversed(kept.values())}
    return [
        {"id": docid, "title": title(docid, unique[docid].value), "text": unique[docid].text}
        for docid in sorted(unique)
    ]


def _package(docid: str) -> str:
    """Return the top-level package of a docid; none for builtins, so that `bytes` and `bytearray` are one package."""
    package = docid.partition(".")[0]
    return package if package in sys.stdlib_module_names else ""


def main() -> None:
    """Write the collection, one JSON object a line, on standard output, where nothing else gets through."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    with output:
        for document in documents():
            output.write(json.dumps(document, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

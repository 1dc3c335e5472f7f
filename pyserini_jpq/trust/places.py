"""Which places a file of others may name, and where a package of a card lies."""

import hashlib
import re
import site
import sysconfig
from pathlib import Path, PurePosixPath

from pyserini_jpq.paths import ENCODERS, cache_folder

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_UP = 2
"""How many folders up from an index its encoder may lie: `indexes/X` and `encoders/X` share a project."""


def is_plain_name(name: str) -> bool:
    """Tell whether a name is that of one file or folder, as ours are."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0\n")


def is_hub_name(name: str) -> bool:
    """Tell whether a name is one of the Hugging Face hub, and of nothing in the working folder but `encoders/`."""
    parts = name.split("/")
    fits = len(parts) <= 2 and all(_NAME.fullmatch(part) and ".." not in part for part in parts)
    return fits and (not Path(name).exists() or _is_within(Path(name), ENCODERS))


def place_beside(index: Path, relative: str) -> Path | None:
    """Return the folder of an encoder or of embeddings that an index names relative to itself; None where it may not.

    It may lie in the index folder, or under the folder that holds the index or the folder above: where we write it.
    The folder one works in, and all in it, may be named too, and what `remember_folder` noted. A link may not lead out
    of any of these.
    """
    path = PurePosixPath(relative)
    up = next((i for i, part in enumerate(path.parts) if part != ".."), len(path.parts))
    strange = path.is_absolute() or "\\" in relative or "\0" in relative or ":" in relative
    if strange or up == len(path.parts) or ".." in path.parts[up:]:
        return None
    here, named = index.resolve(), index / relative
    roots = [Path.cwd(), ENCODERS.resolve()]
    if up <= _UP:
        roots.append((here, *here.parents)[min(up, len(here.parents))])
    roots = [root for root in roots if root != root.parent]
    return named if any(_is_within(named, root) for root in roots) or _note(named).is_file() else None


def remember_folder(folder: Path) -> None:
    """Note that a user works with a folder here, so that an index that was made with it may name it again."""
    note = _note(folder)
    try:
        if not note.is_file():
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{folder.resolve()}\n", encoding="utf-8")
    except (OSError, UnicodeError):
        return  # a cache that cannot be written keeps nobody from working


def may_be_named(folder: Path) -> bool:
    """Tell whether an index or embeddings may name a folder of weights: under `encoders/`, or named before by hand."""
    return _is_within(folder, ENCODERS) or _note(folder).is_file()


def _note(folder: Path) -> Path:
    return cache_folder() / "encoders" / hashlib.sha256(str(folder.resolve()).encode(errors="replace")).hexdigest()


def _is_within(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def package_folder(package: str) -> Path | None:
    """Return a folder that an installed package carries; nothing is imported, and the working folder is no package.

    Parameters
    ----------
    package
        `module:folder`, as cards say it.
    """
    module, _, inner = package.partition(":")
    if not module.isidentifier() or not inner or PurePosixPath(inner).is_absolute() or ".." in inner.split("/"):
        return None
    # Not sys.path: the folder one works in stands on it.
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    folders = (Path(place) / module / inner for place in places)
    return next((folder for folder in folders if folder.is_dir()), None)

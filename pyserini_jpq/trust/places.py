"""The places that a file from elsewhere may name, and the folder of a card's package."""

import hashlib
import os
import re
import site
import sysconfig
from pathlib import Path, PurePosixPath

from pyserini_jpq.paths import ENCODERS, cache_folder

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_UP = 2
"""How many folders up from an index its encoder may lie: `indexes/X` and `encoders/X` share a project."""


def is_plain_name(name: str) -> bool:
    """Tell whether a name is that of a single file or folder, without a path."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0\n")


def is_hub_name(name: str) -> bool:
    """Tell whether a name can be one of the Hugging Face hub, and is no path here but one below `encoders/`."""
    parts = name.split("/")
    fits = len(parts) <= 2 and all(_NAME.fullmatch(part) and ".." not in part for part in parts)
    return fits and (not Path(name).exists() or _is_within(Path(name), ENCODERS))


def place_beside(index: Path, relative: str) -> Path | None:
    """Return the folder of an encoder or of embeddings that an index names relative to itself; None where it may not.

    It may lie in the index folder, or below the folder that holds the index or the one above, where we write it; in
    the working folder; or where `remember_folder` noted it. A link may not lead out of any of these.
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


def seen_from(here: Path, folder: Path) -> str:
    """Return the path of a folder relative to an index or embeddings, to be noted there, and permit it."""
    remember_folder(folder)
    return Path(os.path.relpath(folder.resolve(), here.resolve())).as_posix()


def remember_folder(folder: Path) -> None:
    """Note that the user has named a folder, so that an index that was made with it may name it again."""
    note = _note(folder)
    try:
        if not note.is_file():
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{folder.resolve()}\n", encoding="utf-8")
    except (OSError, UnicodeError):
        return  # work goes on without the note


def may_be_named(folder: Path) -> bool:
    """Tell whether indexes and embeddings may name a folder: below `encoders/`, or named before by the user."""
    return _is_within(folder, ENCODERS) or _note(folder).is_file()


def _note(folder: Path) -> Path:
    return cache_folder() / "encoders" / hashlib.sha256(str(folder.resolve()).encode(errors="replace")).hexdigest()


def _is_within(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def package_folder(package: str) -> Path | None:
    """Return a folder inside an installed package, without importing it; the working folder is no package.

    Parameters
    ----------
    package
        `module:folder`, as cards say it.
    """
    module, _, inner = package.partition(":")
    if not module.isidentifier() or not inner or PurePosixPath(inner).is_absolute() or ".." in inner.split("/"):
        return None
    # Not sys.path, which holds the working folder.
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    folders = (Path(place) / module / inner for place in places)
    return next((folder for folder in folders if folder.is_dir()), None)

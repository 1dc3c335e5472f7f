"""The state of a quantizer's training, from which an interrupted one resumes."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.files import beside


def write_state(path: Path, **values: Any) -> None:
    """Write named arrays and numbers, atomically."""
    with beside(path) as partial:
        with open(partial, "wb") as file:
            np.savez(file, **values)
        os.replace(partial, path)


def read_state(path: Path | None, *names: str) -> tuple[Any, ...] | None:
    """Return the named arrays, numbers as arrays of no dimension; None if there is no whole file of them."""
    if path is None or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            return tuple(kept[name] for name in names)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None

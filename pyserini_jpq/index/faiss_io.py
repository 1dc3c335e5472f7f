"""Read faiss files after a check, and write them completely or raise."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.trust.faiss_file import faiss_layout


def write_faiss(index: Any, path: Path) -> None:
    """Write a faiss index, and raise if the disk is full, where faiss itself only prints a message.

    Parameters
    ----------
    index
        The index, of floats or binary.
    path
        The file; it should lie beside its final place.

    Raises
    ------
    OSError
        If the disk is full, or the file cannot be written.
    """
    import faiss

    problems: list[OSError] = []

    def write(block: bytes) -> None:
        try:
            file.write(block)
        except OSError as problem:  # faiss raises its own exception, without the reason
            problems.append(problem)
            raise

    write_index = faiss.write_index_binary if isinstance(index, faiss.IndexBinary) else faiss.write_index
    try:
        with open(path, "wb") as file:
            write_index(index, faiss.PyCallbackIOWriter(write))  # type: ignore[attr-defined]  # the stubs lack it
            file.flush()
            os.fsync(file.fileno())
    except Exception:
        if problems:
            raise problems[0] from None
        raise


def read_faiss(path: Path, mapped: bool = False) -> Any:
    """Read an index file, after a check of its sizes against its length.

    Parameters
    ----------
    path
        The file.
    mapped
        Memory-map the codes, read-only: opening is instant, and processes share them.

    Raises
    ------
    IndexFolderError
        If faiss cannot read it.
    """
    import faiss

    layout = faiss_layout(path)
    if not layout.known:
        raise IndexFolderError(f"{path} is a {layout.kind}, which no index of ours is")
    try:
        found = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except (RuntimeError, MemoryError) as problem:
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[-1]
        # Drop the function and source line of faiss.
        reason = re.sub(r"^Error in .* at \S+:\d+: ", "", reason)
        raise IndexFolderError(f"{path} is no faiss index, or damaged: {reason}") from None
    # Of an index of which a part says that it is not trained, faiss refuses every search.
    if found.ntotal and not all(part.is_trained for part in _parts(found)):
        raise IndexFolderError(f"{path} is no faiss index, or damaged: a part of it is not trained")
    return found


def _parts(index: Any) -> Iterator[Any]:
    """Yield an index, its transforms, and the indexes in it."""
    import faiss

    index = faiss.downcast_index(index)
    yield index
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain
        yield from (chain.at(number) for number in range(chain.size()))
        yield from _parts(index.index)
    if isinstance(index, faiss.IndexIVF):
        yield from _parts(index.quantizer)

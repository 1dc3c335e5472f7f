"""An index in shards: a folder with `shards.json` and ordinary index folders in it, one quantizer for all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyserini_jpq.data.ids import check_docids
from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.joined import JoinedDocids
from pyserini_jpq.index.manifest import Manifest
from pyserini_jpq.index.shards_file import SHARDS, Shard, fits, read_shards
from pyserini_jpq.quantizer import Floats


class ShardedIndex(IndexFolder):
    """An index in shards, opened and checked one after the other; a document's row is that in the whole.

    What an ordinary index answers from one file is answered from those of the shards; `manifest` describes the whole.

    Parameters
    ----------
    path, verify, whole
        As for `IndexFolder`.

    Attributes
    ----------
    parts : tuple of IndexFolder
        The shards in row order.

    Raises
    ------
    IndexFolderError
        If `shards.json` is damaged, or a shard is missing, damaged or another one; the message names it.
    """

    def _read_manifest(self) -> Manifest:
        found = read_shards(self.path)
        self._shards = found.shards
        return found.manifest

    def _check(self, whole: bool) -> None:
        self.blocks = None
        self._opened = tuple(self._open(shard, whole) for shard in self._shards)
        if self.verify:
            check_docids(self.open_docids, str(self.path), IndexFolderError)

    def _open(self, shard: Shard, whole: bool) -> IndexFolder:
        folder = self.path / shard.name
        try:
            if folder.is_symlink():
                raise IndexFolderError("it is a link; a shard lies in the folder of its index")
            found = IndexFolder(folder, self.verify, whole)
            if difference := fits(shard, found.manifest, self.manifest):
                raise IndexFolderError(f"{difference}; it was changed by itself, or is of another index")
        except IndexFolderError as problem:
            again = (
                f"put it back, or replace or drop it (`python -m pyserini_jpq.index --index {self.path} --drop-shard"
            )
            raise IndexFolderError(f"{shard.name} of {self.path}: {problem}; {again} {shard.name}`)") from None
        return found

    @property
    def parts(self) -> tuple[IndexFolder, ...]:
        """The shards in row order."""
        return self._opened

    def open_docids(self) -> JoinedDocids:
        """Open the docids of all shards."""
        return JoinedDocids([part.open_docids() for part in self.parts])

    def initial_centroids(self) -> Floats:
        """Return the centroids by which codes were assigned, [M, K, D/M] float32."""
        return self.parts[0].initial_centroids()

    def document_map(self) -> Floats | None:
        """Return what takes documents' vectors to the centroids, [D, D] float32; None if the rotation does."""
        return self.parts[0].document_map()

    def read(self, mapped: bool = False) -> Any:
        """Raise IndexFolderError, for there is no single faiss index."""
        raise self._refused()

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """Raise IndexFolderError, for files are those of a shard."""
        raise self._refused()
        yield

    def drop(self, name: str) -> None:
        """Raise IndexFolderError, for files are those of a shard."""
        raise self._refused()

    def _refused(self) -> IndexFolderError:
        return IndexFolderError(
            f"{self.path} is an index in {len(self.parts)} shards, which cannot be used here; give one of them, "
            f"such as {self.parts[0].path}, or an index without shards"
        )


def open_at(path: str | Path, verify: bool = False, whole: bool = True) -> IndexFolder:
    """Open an index folder, in shards or not; parameters and errors as for `IndexFolder`."""
    kind = ShardedIndex if (Path(path) / SHARDS).is_file() else IndexFolder
    return kind(path, verify, whole)

"""Open an index folder with the right engine for its size, its files and the device."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.encode.embeddings import MANIFEST as EMBEDDINGS_MANIFEST
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import IndexFolderError, JPQError
from pyserini_jpq.index.faiss_format import parts_of
from pyserini_jpq.index.folder import IndexFolder, find_index
from pyserini_jpq.index.ivf import check_lists, check_nprobe, default_nprobe, lists_in, set_nprobe
from pyserini_jpq.index.manifest import FILES, IVF, VECTORS
from pyserini_jpq.index.opening import opened
from pyserini_jpq.index.shards_ivf import build_lists, joined, joined_lists, read_lists
from pyserini_jpq.scan import available, turned_off
from pyserini_jpq.search.engines.base import SearchEngine, whole
from pyserini_jpq.search.engines.codes import TableEngine
from pyserini_jpq.search.engines.faiss import FaissEngine
from pyserini_jpq.search.engines.flat import FlatEngine
from pyserini_jpq.search.engines.ivf import ListsEngine
from pyserini_jpq.search.engines.rescoring import RescoringEngine, kept_vectors
from pyserini_jpq.search.engines.scan import ScanEngine
from pyserini_jpq.search.engines.shards import ShardsEngine

SCAN_FROM = 10_000
"""Least number of documents for the compiled scan. With fewer it would save a tenth of a millisecond, and faiss keeps
the stock searcher's order of equal scores (documents with the same codes); the scan orders them by row."""

SCAN_4_FROM = 1_000
"""The same for codes of 4 bits, where faiss takes a microsecond per document."""


def is_flat(folder: Path) -> bool:
    """Return whether a folder holds embeddings, not an index."""
    return (folder / EMBEDDINGS_MANIFEST).is_file()


def open_index(
    folder: str | Path | IndexFolder,
    device: str = "cpu",
    ivf: int | None = None,
    nprobe: int | None = None,
    verify: bool = False,
    rescore: int | None = None,
    cluster: Cluster | None = None,
) -> SearchEngine:
    """Open an index, or uncompressed embeddings, for search; no JVM is started.

    Parameters
    ----------
    folder
        An index folder, the name of one under `indexes/`, or a folder of embeddings.
    device
        `cpu`; or `cuda:0` and so on, to search by torch.
    ivf
        Number of inverted lists: those beside the index, else made in memory now. None searches all documents.
    nprobe
        Number of lists to probe per query; by default an eighth. Without `ivf`, of the lists beside the index.
    verify
        Check the hashes of all files of the index first.
    rescore
        Number of hits of each query that are scored again by the vectors that the index keeps.
    cluster
        A Ray cluster that searches the shards of the index.

    Returns
    -------
    SearchEngine
        The compiled scan; faiss for small indexes and where the scan was not built; torch on a GPU. Codes are
        memory-mapped.

    Raises
    ------
    IndexFolderError, EmbeddingsError
        If the folder is missing, incomplete or damaged.
    JPQError
        If the index has no inverted lists, the device cannot be used, or options exclude each other.
    """
    by_lists = ivf is not None or nprobe is not None
    ivf, nprobe = (None if value is None else whole(value, name) for value, name in ((ivf, "ivf"), (nprobe, "nprobe")))
    if ivf is not None and ivf < 1:
        raise JPQError(f"{ivf} inverted lists; give at least 1")
    if not isinstance(folder, IndexFolder) and is_flat(Path(folder)):
        if device != "cpu" or by_lists or rescore is not None:
            raise JPQError(
                f"{folder} holds embeddings; inverted lists, rescoring and other devices than the CPU need an index"
            )
        return open_flat(Path(folder))
    if by_lists and device != "cpu":
        raise JPQError(f"inverted lists are searched on the CPU only, not on {device}; leave one of the two out")
    if not isinstance(folder, IndexFolder):
        return opened(
            find_index(str(folder)),
            lambda now: open_index(now, device, ivf, nprobe, rescore=rescore, cluster=cluster),
            verify,
        )
    engine = _lists_engine(folder, ivf, nprobe) if by_lists else _engine(folder, device)
    files = _fingerprint(folder, by_lists, rescore is not None)
    reopen = _reopened, (folder.path.resolve(), files, device, ivf, nprobe, rescore)
    engine.reopen = reopen
    if cluster is not None:
        from pyserini_jpq.search.engines.cluster import ClusterEngine

        engine = ClusterEngine(cluster, engine)
    if rescore is not None:
        engine = RescoringEngine(engine, kept_vectors(folder), rescore)
        engine.reopen = reopen
    return engine


def _engine(folder: IndexFolder, device: str) -> SearchEngine:
    """Return an engine for exhaustive search."""
    indexes = _read(folder)
    if device != "cpu":
        from pyserini_jpq.encode.precision import resolve_device
        from pyserini_jpq.search.engines.torch import TorchEngine

        return TorchEngine(joined(folder, indexes), str(folder.path), resolve_device(device))
    return _exhaustive(folder, indexes)


def _read(folder: IndexFolder) -> list[Any]:
    """Return the faiss indexes of the parts of an index, memory-mapped."""
    return [part.read(mapped=True) for part in folder.parts]


def _exhaustive(folder: IndexFolder, indexes: list[Any]) -> SearchEngine:
    """Return the engine for exhaustive search on the CPU, with the same results for any number of shards."""
    if not _enough(folder.manifest.documents, folder.manifest.bits):
        return FaissEngine(joined(folder, indexes), str(folder.path))
    return _together(
        [ScanEngine(own, str(part.path), part.blocks) for own, part in zip(indexes, folder.parts, strict=True)]
    )


def _together(engines: Sequence[TableEngine]) -> SearchEngine:
    return engines[0] if len(engines) == 1 else ShardsEngine(engines)


def exhaustive(index: Any, where: str, blocks: Path | None = None) -> SearchEngine:
    """Return the engine for exhaustive search of a faiss index on the CPU; parameters as for `ScanEngine`."""
    _, inner = parts_of(index, where)
    return ScanEngine(index, where, blocks) if _enough(index.ntotal, inner.pq.nbits) else FaissEngine(index, where)


def _enough(documents: int, bits: int) -> bool:
    """Return whether the compiled scan searches so many documents; faiss orders equal scores otherwise."""
    return documents >= (SCAN_4_FROM if bits == 4 else SCAN_FROM) and can_scan()


def can_scan() -> bool:
    """Return whether the compiled scan is available; warn once if not."""
    if not available():
        _say_once()
    return available()


@cache
def _say_once() -> None:
    if not turned_off():
        cli.warn("the compiled scan was not built (no C++ compiler); searching with faiss, several times slower")


def _lists_engine(folder: IndexFolder, ivf: int | None, nprobe: int | None) -> SearchEngine:
    indexes, where = _read(folder), str(folder.path)
    command = f"python -m pyserini_jpq.index --index {where} --ivf"
    kept = read_lists(folder, indexes)
    if not kept and ivf is None:
        raise JPQError(f"{where} has no inverted lists; make them with `{command} LISTS`")
    lists = ivf or lists_in(kept[0])
    nprobe = default_nprobe(lists) if nprobe is None else nprobe
    check_nprobe(nprobe, lists)
    if nprobe == lists:  # faster than probing all lists, which a graph might not even find
        return _exhaustive(folder, indexes)
    if not kept or lists_in(kept[0]) != lists:
        check_lists(lists, folder.manifest.documents, where)
        cli.say(f"sorting {folder.manifest.documents} documents into {lists} lists; `{command} {lists}` keeps them")
        kept = list(build_lists(folder, lists, indexes))
    if not available():
        kept = [joined_lists(folder, indexes, kept)]
    for of_part in kept:
        set_nprobe(of_part, nprobe)
    if not available():
        return FaissEngine(joined(folder, indexes), where, kept[0])
    return _together(
        [ListsEngine(*three) for three in zip(kept, indexes, (str(part.path) for part in folder.parts), strict=True)]
    )


def open_flat(folder: Path) -> FlatEngine:
    """Open a folder of embeddings for exact search.

    Raises
    ------
    EmbeddingsError
        If it is missing, incomplete or damaged.
    """
    engine = FlatEngine(Embeddings(folder))
    engine.reopen = _reopened_flat, (folder.resolve(), engine.embeddings.manifest)
    return engine


def _reopened(
    path: Path, fingerprint: dict[str, str], device: str, ivf: int | None, nprobe: int | None, rescore: int | None
) -> SearchEngine:
    """Reopen the index of a pickled engine; raise IndexFolderError if it has changed."""

    def read(folder: IndexFolder) -> SearchEngine:
        if _fingerprint(folder, ivf is not None or nprobe is not None, rescore is not None) != fingerprint:
            raise _changed(path)
        return open_index(folder, device, ivf, nprobe, rescore=rescore)

    return opened(path, read)


def _reopened_flat(folder: Path, manifest: dict[str, Any]) -> SearchEngine:
    engine = open_flat(folder)
    if engine.embeddings.manifest != manifest:
        raise _changed(folder)
    return engine


def _fingerprint(folder: IndexFolder, by_lists: bool, rescored: bool) -> dict[str, str]:
    names = (*FILES, *([IVF] if by_lists else []), *([VECTORS] if rescored else []))
    files = [(i, name, part.manifest.files.get(name)) for i, part in enumerate(folder.parts) for name in names]
    return {f"{i}/{name}": entry["sha256"] for i, name, entry in files if entry is not None}


def _changed(folder: Path) -> IndexFolderError:
    return IndexFolderError(f"{folder} was changed after its searcher was pickled; open it again instead")

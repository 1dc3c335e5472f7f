"""Lucene's HNSW index of vectors, by Anserini."""

import os
import re
from pathlib import Path
from typing import Any

from pyserini_jpq.compat.loading import java_exception, load
from pyserini_jpq.errors import InstallationError


def index_dense_vectors(vectors: str | os.PathLike[str], index: str | os.PathLike[str], links: int = 16) -> None:
    """Build Lucene's HNSW index of vectors, quantized to 8 bits, in one thread.

    Parameters
    ----------
    vectors
        A folder of JSON lines with `docid` and `vector`.
    index
        The folder to write.
    links
        Of a vector in the graph.

    Raises
    ------
    InstallationError
        If Anserini writes no index.
    """
    arguments = _java("io.anserini.index.IndexHnswDenseVectors$Args")()
    quantize = "-quantize.int8" if hasattr(arguments, "quantizeInt8") else "-quantize.sqv"  # its name in Anserini 2
    what = {"collection": "JsonDenseVectorCollection", "generator": "DenseVectorDocumentGenerator"}
    what |= {"input": os.fspath(vectors), "index": os.fspath(index), "M": str(links), "efC": "100", "threads": "1"}
    words = [word for key, value in what.items() for word in (f"-{key}", value)]
    _java("io.anserini.index.IndexHnswDenseVectors").main([*words, quantize, "-quiet"])
    if not list(Path(index).glob("segments_*")):  # Java has said why, and returns all the same
        raise InstallationError(f"Anserini has written no index of {os.fspath(vectors)} to {os.fspath(index)}")


def open_vectors(index: str | os.PathLike[str], ef_search: int = 100) -> Any:
    """Return pyserini's `LuceneHnswDenseSearcher` for an index; a query is a vector, written as JSON.

    Parameters
    ----------
    index
        A folder that `index_dense_vectors` wrote.
    ef_search
        How many candidates the graph is searched for; at least the number of hits.

    Raises
    ------
    InstallationError
        If it cannot be opened: Anserini 2 first fetches its list of prebuilt indexes, for any folder.
    """
    searcher = load("pyserini.search.lucene").LuceneHnswDenseSearcher
    try:
        return searcher(os.fspath(index), ef_search=ef_search)
    except java_exception() as error:
        cause = re.findall(r"^\s*(java\.net\.\S+: .*)$", str(error), re.MULTILINE) or [str(error).partition("\n")[0]]
        raise InstallationError(
            f"Lucene's HNSW index cannot be opened: Anserini 2 asks the network for its list first ({cause[-1]})"
        ) from error


def _java(name: str) -> Any:
    load("pyserini.search.lucene")  # it starts the JVM
    from jnius import autoclass

    return autoclass(name)

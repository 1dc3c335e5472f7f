"""Writing runs in the formats of Pyserini's writers, in UTF-8 whatever the locale, in trec_eval's order."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np

from pyserini_jpq.errors import RunError

OUTPUT_FORMATS = ("trec", "msmarco", "kilt")


class _Hit(NamedTuple):
    docid: str
    score: float


def in_trec_order(hits: Iterable[Any]) -> list[Any]:
    """Order hits as trec_eval does: by score as it is written, as a 32-bit float; equal ones by docid, last first.

    So trec_eval, by scores, and MS MARCO's scripts, by ranks, evaluate the run alike.
    """
    found = list(hits)
    scores = np.array([float(f"{hit.score:.6f}") for hit in found], dtype=np.float32).tolist()
    keys = [(score, hit.docid.encode()) for score, hit in zip(scores, found, strict=True)]
    return [found[i] for i in sorted(range(len(found)), key=keys.__getitem__, reverse=True)]


class RunWriter:
    """A run file, open for writing: `with RunWriter(path) as writer: writer.write(qid, hits)`.

    Parameters
    ----------
    path
        The run file; its folder is made.
    output_format
        One of `OUTPUT_FORMATS`.
    hits
        Most hits of a query.
    tag
        Name of the run, in the last column of TREC's format.
    topics
        Topics by qid, for KILT's format only: the fields of a line beside the hits.
    max_passage
        Write each document once, by its best passage: docids are `document#passage`, and `document` is written.
    max_passage_delimiter
        What stands between document and passage in a docid.
    max_passage_hits
        Most documents of a query, in place of `hits`.

    Raises
    ------
    RunError
        If there is no such format.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        output_format: str = "trec",
        *,
        hits: int = 1000,
        tag: str = "pyserini_jpq",
        topics: Mapping[str, Mapping[str, Any]] | None = None,
        max_passage: bool = False,
        max_passage_delimiter: str = "#",
        max_passage_hits: int = 100,
    ) -> None:
        if output_format not in OUTPUT_FORMATS:
            raise RunError(f"no output format {output_format!r}; there are {', '.join(OUTPUT_FORMATS)}")
        self._path, self._format, self._tag, self._topics = Path(path), output_format, tag, topics or {}
        self._most = max_passage_hits if max_passage else hits
        self._max_passage, self._delimiter = max_passage, max_passage_delimiter
        self._file: IO[str]

    def __enter__(self) -> "RunWriter":
        """Open the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "w", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self._file.close()

    def write(self, qid: str, hits: Iterable[Any]) -> None:
        """Write the hits of a query, each with `docid` and `score`, in whatever order they come."""
        # Passages are stripped before ties are ordered: the order of `D1_0` and `D10_0` is not that of `D1` and `D10`.
        ranked = in_trec_order(self._documents(hits) if self._max_passage else hits)[: self._most]
        if self._format == "kilt":
            output = [{"provenance": [{"wikipedia_id": hit.docid} for hit in ranked]}]
            self._file.write(json.dumps({**self._topics[qid], "output": output}) + "\n")
            return
        for rank, hit in enumerate(ranked, start=1):
            if self._format == "trec":
                self._file.write(f"{qid} Q0 {hit.docid} {rank} {hit.score:.6f} {self._tag}\n")
            else:
                self._file.write(f"{qid}\t{hit.docid}\t{rank}\n")

    def _documents(self, hits: Iterable[Any]) -> list[_Hit]:
        best: dict[str, float] = {}
        for hit in hits:
            docid = hit.docid.partition(self._delimiter)[0] if self._delimiter else hit.docid
            best[docid] = max(hit.score, best.get(docid, hit.score))
        return [_Hit(docid, score) for docid, score in best.items()]

"""Writing runs in the formats of Pyserini's writers, in UTF-8 whatever the locale, in trec_eval's order."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pyserini_jpq.errors import RunError

OUTPUT_FORMATS = ("trec", "msmarco", "kilt")

_EXACT = 2**53 / 1e6


def in_trec_order(hits: Iterable[Any]) -> list[Any]:
    """Order hits, each with `docid` and `score`, by `trec_order`."""
    found = list(hits)
    return [found[i] for i in trec_order(*_columns(found))]


def trec_order(docids: Sequence[str], scores: NDArray[Any]) -> list[int]:
    """Return positions in trec_eval's order: by score as it is written, as a 32-bit float; then by docid, last first.

    So trec_eval, by scores, and MS MARCO's scripts, by ranks, evaluate the run alike.
    """
    written = _as_written(scores)
    best = np.argsort(-written, kind="stable")
    order: list[int] = best.tolist()
    ranked = written[best]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    ends = np.append(starts[1:], len(ranked))
    tied = ends - starts > 1
    for start, end in zip(starts[tied].tolist(), ends[tied].tolist(), strict=True):
        order[start:end] = sorted(order[start:end], key=lambda i: docids[i].encode(), reverse=True)
    return order


def _columns(hits: Sequence[Any]) -> tuple[list[str], NDArray[Any]]:
    return [hit.docid for hit in hits], np.array([hit.score for hit in hits])


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _as_written(scores: NDArray[Any]) -> NDArray[np.float32]:
    """Return scores as a reader of the run has them: rounded to six decimals, then to 32 bits."""
    if scores.dtype == np.float32 and np.abs(scores).max(initial=0) < _EXACT:
        # A million times a 32-bit float is exact in 64 bits: this rounds as formatting does, and takes less time.
        return (np.rint(scores.astype(np.float64) * 1e6) / 1e6).astype(np.float32)
    return np.array([float(f"{score:.6f}") for score in scores.tolist()], dtype=np.float32)


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
        self.write_ranked(qid, *_columns(list(hits)))

    def write_ranked(self, qid: str, docids: Sequence[str], scores: NDArray[Any]) -> None:
        """Write the hits of a query: n docids and their scores, [n], in whatever order they come."""
        # Passages are stripped before ties are ordered: the order of `D1_0` and `D10_0` is not that of `D1` and `D10`.
        if self._max_passage:
            docids, scores = self._documents(docids, scores)
        order = trec_order(docids, scores)[: self._most]
        ranked = [docids[i] for i in order]
        if self._format == "kilt":
            output = [{"provenance": [{"wikipedia_id": docid} for docid in ranked]}]
            self._file.write(json.dumps({**self._topics[qid], "output": output}) + "\n")
            return
        columns: list[Iterable[Any]] = [ranked, range(1, len(ranked) + 1)]
        line = f"{_escaped(qid)}\t%s\t%d\n"
        if self._format == "trec":
            columns.append(scores[order].tolist())
            line = f"{_escaped(qid)} Q0 %s %d %.6f {_escaped(self._tag)}\n"
        # One template for all lines: a string for each takes twice the time.
        self._file.write(line * len(ranked) % tuple(chain.from_iterable(zip(*columns, strict=True))))

    def _documents(self, docids: Sequence[str], scores: NDArray[Any]) -> tuple[list[str], NDArray[Any]]:
        best: dict[str, Any] = {}
        for passage, score in zip(docids, scores, strict=True):
            docid = passage.partition(self._delimiter)[0] if self._delimiter else passage
            best[docid] = max(score, best.get(docid, score))
        return list(best), np.array(list(best.values()), dtype=scores.dtype)

"""Wins and losses of the reference, query by query."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyserini_jpq.compare.pages import Block, Text
from pyserini_jpq.compare.rows import TOP, Row
from pyserini_jpq.data.source import open_collection
from pyserini_jpq.evaluate.table import Table

LARGEST = 5
_SNIPPET = 220


@dataclass(frozen=True)
class Difference:
    """One query: its value for the reference, less that for another system."""

    qid: str
    reference: float
    other: float

    @property
    def gain(self) -> float:
        """Value of the reference less that of the other system."""
        return self.reference - self.other


def differences(reference: Row, other: Row, metric: str, qids: Sequence[str]) -> list[Difference]:
    """Return the queries whose values differ, the largest gain first; equal ones by qid."""
    values = zip(qids, reference.per_query[metric], other.per_query[metric], strict=True)
    found = [Difference(qid, ours, theirs) for qid, ours, theirs in values if ours != theirs]
    return sorted(found, key=lambda difference: (-difference.gain, difference.qid))


def counts(reference: Row, rows: Sequence[Row], metric: str, qids: Sequence[str]) -> Table:
    """Return for each system the number of queries on which the reference is better, equal and worse."""
    body = []
    for row in rows:
        if not row.measured or row is reference:
            continue
        found = differences(reference, row, metric, qids)
        better = sum(difference.gain > 0 for difference in found)
        body.append([row.title, str(better), str(len(qids) - len(found)), str(len(found) - better)])
    return Table(["against", "better", "equal", "worse"], body)


def largest(
    reference: Row,
    other: Row,
    metric: str,
    topics: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    texts: Mapping[str, str],
) -> list[Block]:
    """Return the largest wins and losses: query, values, and the first document of both with its grade and text."""
    found = differences(reference, other, metric, list(qrels))
    blocks: list[Block] = []
    worst = [difference for difference in found if difference.gain < 0][::-1]
    best = [difference for difference in found if difference.gain > 0]
    for name, chosen in (("wins", best[:LARGEST]), ("losses", worst[:LARGEST])):
        if not chosen:
            continue
        header = ["query", reference.title, other.title, f"first of {reference.title}", f"first of {other.title}"]
        body = [
            [
                f"{difference.qid}: {topics.get(difference.qid, '')}",
                f"{difference.reference:.4f}",
                f"{difference.other:.4f}",
                *(_first(row, difference.qid, qrels, texts) for row in (reference, other)),
            ]
            for difference in chosen
        ]
        blocks += [
            Text("paragraph", f"The largest {name} in {metric} against {other.title}:"),
            Table(header, body, frozenset({0, 3, 4})),
        ]
    return blocks


def shown_docids(reference: Row, others: Iterable[Row], metric: str, qids: Sequence[str]) -> set[str]:
    """Return the docids that `largest` will show."""
    shown: set[str] = set()
    for other in others:
        found = differences(reference, other, metric, qids)
        for difference in [*found[:LARGEST], *found[-LARGEST:]]:
            shown |= {row.top[difference.qid][0] for row in (reference, other) if row.top.get(difference.qid)}
    return shown


def texts_of(corpus: Path | None, docids: set[str]) -> dict[str, str]:
    """Return the beginnings of documents; none without a collection."""
    if corpus is None or not docids:
        return {}
    found = {}
    for document in open_collection(corpus, skip_empty=True):
        if document.docid in docids:
            text = document.render("{title}: {text}")
            found[document.docid] = text if len(text) <= _SNIPPET else text[:_SNIPPET].rsplit(" ", 1)[0] + " …"
    return found


def _first(row: Row, qid: str, qrels: Mapping[str, Mapping[str, int]], texts: Mapping[str, str]) -> str:
    top = row.top.get(qid, [])
    if not top:
        return "no hit"
    grades = [qrels[qid].get(docid, 0) for docid in top]
    first = next((rank for rank, grade in enumerate(grades, 1) if grade > 0), None)
    relevant = f"first relevant at {first}" if first else f"none relevant of the first {min(TOP, len(top))}"
    text = f": {texts[top[0]]}" if top[0] in texts else ""
    return f"{top[0]} (grade {grades[0]}; {relevant}){text}"

"""The inputs of training: index, labelled queries, embeddings, a teacher's scores, dev queries."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyserini_jpq import cli
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_scores
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError, TopicsError, TrainingError
from pyserini_jpq.index.vectors import DocumentVectors
from pyserini_jpq.train.data import Coverage, TrainingQuery, training_queries, unlabelled_queries
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.pseudo import made_queries
from pyserini_jpq.train.source import SourceIndex

V = TypeVar("V")

Labels = Mapping[str, int] | Iterable[str] | str
Topics = str | Path | Mapping[str, str]
Qrels = str | Path | Mapping[str, Labels]
Scores = str | Path | Mapping[str, Mapping[str, float]]
Dev = tuple[Topics, Qrels]


@dataclass(frozen=True)
class Inputs:
    """The inputs of training.

    Attributes
    ----------
    source
        The index to start from.
    queries
        Training queries.
    coverage
        Counts of what matches between topics, qrels and index.
    embeddings
        Embeddings of the same documents in the same order, or vectors that the index keeps, if there are any.
    scores
        A teacher's scores by query id and docid, for margin-MSE.
    dev
        Dev topics and qrels, if there are any.
    names
        Names of scores, dev topics and dev qrels, part of a checkpoint's fingerprint.
    made
        Whether the queries were made of the documents.
    """

    source: SourceIndex
    queries: Sequence[TrainingQuery]
    coverage: Coverage
    embeddings: DocumentVectors | None = None
    scores: Mapping[str, Mapping[str, float]] | None = None
    dev: tuple[Mapping[str, str], Mapping[str, Mapping[str, int]]] | None = None
    names: Sequence[str | None] = (None, None, None)
    made: bool = False

    def fingerprint(self, options: TrainOptions) -> dict[str, Any]:
        """Return what must be equal for a checkpoint to be resumed, as JSON values."""
        digest = hashlib.sha256()
        for query in self.queries:
            labels = list(zip(query.positives.tolist(), query.grades.tolist(), strict=True))
            digest.update(f"{query.qid}\t{query.text}\t{labels}\n".encode())
        manifest = self.source.manifest
        scores, *dev = self.names
        settings = {
            "index": manifest.files,
            "query_encoder": manifest.query_encoder["sha256"],
            "queries": digest.hexdigest(),
            "recipe": options.recipe(),
            "embeddings": self.embeddings.manifest if self.embeddings and options.needs_embeddings else None,
            "scores": scores,
            "dev": [*dev, options.dev_metric],
            "lora_rank": options.lora_rank,
        }
        parsed: dict[str, Any] = json.loads(json.dumps(settings))
        return parsed


def read_inputs(
    source: SourceIndex,
    topics: Topics | None,
    qrels: Qrels | None,
    options: TrainOptions,
    embeddings: Path | None = None,
    scores: Scores | None = None,
    dev: Dev | None = None,
    corpus: str | Path | None = None,
) -> Inputs:
    """Read and match the inputs of `train`, each given as mapping, file or name; without topics, make queries."""
    made = topics is None
    if topics is None:
        topics, made_of = made_queries(source, corpus, options)
        if options.margins is not None:
            from pyserini_jpq.train.margins import margin_scores

            scores = margin_scores(source, corpus, topics, made_of, options)
        qrels = made_of if options.learns_from_labels or scores else None
    queries, coverage = _queries(source, topics, qrels)
    taught = None if scores is None else scores_of(scores)
    watched = (topics_of(dev[0]), qrels_of(dev[1])) if dev else None
    names = [_name(*pair) for pair in zip((scores, *(dev or ())), (taught, *(watched or ())), strict=True)]
    names += [None] * (3 - len(names))
    return Inputs(source, queries, coverage, find_embeddings(source, embeddings), taught, watched, names, made)


def topics_of(given: Topics) -> Mapping[str, str]:
    """Return query texts by query id, from a mapping, a file or a name.

    Raises
    ------
    TopicsError
        If there are none, or one is not a text.
    """
    if not isinstance(given, Mapping):
        return read_topics(str(given))
    if not given:
        raise TopicsError("topics hold no query")
    for qid, text in given.items():
        if not isinstance(text, str) or not text.strip():
            raise TopicsError(f"topics: query {qid!r} is {text!r}; expected its text")
    return _by_text(given, "topics: query")


def qrels_of(given: Qrels) -> Mapping[str, Mapping[str, int]]:
    """Return grades by query id and docid, from a mapping, a file or a name; docids without a grade get 1.

    Raises
    ------
    TopicsError
        If there are none, or a grade is not a whole number.
    """
    if not isinstance(given, Mapping):
        return read_qrels(str(given))
    if not given:
        raise TopicsError("qrels hold no judgement")
    return _by_text({qid: _grades(qid, labels) for qid, labels in given.items()}, "qrels: query")


def scores_of(given: Scores) -> Mapping[str, Mapping[str, float]]:
    """Return scores by query id and docid, from a mapping or a file.

    Raises
    ------
    TopicsError
        If there are none, or one is not a finite number.
    """
    if not isinstance(given, Mapping):
        return read_scores(str(given))
    if not given:
        raise TopicsError("scores hold no score")
    return _by_text({qid: _scores(qid, scores) for qid, scores in given.items()}, "scores: query")


def _grades(qid: object, labels: Labels) -> dict[str, int]:
    """Return the grades of a query by docid."""
    if isinstance(labels, str | int):
        labels = [str(labels)]
    try:
        grades = dict(labels) if isinstance(labels, Mapping) else dict.fromkeys(labels, 1)
        if all(int(grade) == grade for grade in grades.values()):
            return _by_text({docid: int(grade) for docid, grade in grades.items()}, f"qrels: query {qid!r}, docid")
    except (TypeError, ValueError, OverflowError):
        pass
    raise TopicsError(f"qrels: query {qid!r} has {labels!r}; expected whole grades by docid, docids, or a docid")


def _scores(qid: object, scores: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of a query by docid."""
    try:
        found = {docid: float(score) for docid, score in scores.items()}
        if all(map(math.isfinite, found.values())):
            return _by_text(found, f"scores: query {qid!r}, docid")
    except (AttributeError, TypeError, ValueError):
        pass
    raise TopicsError(f"scores: query {qid!r} has {scores!r}; expected finite scores by docid")


def _by_text(values: Mapping[Any, V], what: str) -> dict[str, V]:
    """Return the values with ids as text, as in files; raise TopicsError if two ids become equal."""
    found: dict[str, V] = {}
    for key, value in values.items():
        if str(key) in found:
            raise TopicsError(f"{what} {str(key)!r} is there twice, as text and as a number; keep one")
        found[str(key)] = value
    return found


def find_embeddings(source: SourceIndex, given: Path | None) -> DocumentVectors | None:
    """Open the embeddings of an index: the given folder, else the one it names if that fits, else the kept vectors.

    Raises
    ------
    TrainingError
        If the given folder holds other documents.
    EmbeddingsError
        If the given folder cannot be read.
    """
    folder = given or source.folder.embeddings()
    if folder is None or (given is None and not folder.is_dir()):
        return source.vectors
    try:
        embeddings = Embeddings(folder)
        same = embeddings.documents == source.manifest.documents and list(embeddings.docids()) == source.docids
    except JPQError:
        if given:
            raise
        return source.vectors
    if same:
        return embeddings
    if given:
        raise TrainingError(
            f"{folder} does not hold the embeddings of the documents of {source.folder.path}, in their order"
        )
    return source.vectors


def _queries(source: SourceIndex, topics: Topics, qrels: Qrels | None) -> tuple[list[TrainingQuery], Coverage]:
    texts = topics_of(topics)
    if qrels is None:
        return unlabelled_queries(texts), Coverage(len(texts), 0, 0, 0)
    where = "qrels" if isinstance(qrels, Mapping) else str(qrels)
    queries, coverage = training_queries(texts, qrels_of(qrels), source.docids, where)
    if coverage.unknown_documents:
        cli.warn(f"{where} names {coverage.unknown_documents} relevant documents that the index does not hold")
    if coverage.queries_without_text:
        named = "the topics do" if isinstance(topics, Mapping) else f"{topics} does"
        cli.warn(f"{where} judges {coverage.queries_without_text} queries that {named} not hold")
    return queries, coverage


def _name(given: object, read: object) -> str | None:
    """Return the name of a file, or a hash of a mapping's content."""
    if not isinstance(given, Mapping):
        return None if given is None else str(given)
    return "sha256:" + hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()

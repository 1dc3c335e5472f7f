"""What a training run is made from: the index, queries with labels, embeddings, a teacher's scores, dev queries."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.data.qrels import read_qrels
from pyserini_jpq.data.runs import read_scores
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import JPQError, TopicsError, TrainingError
from pyserini_jpq.train.data import Coverage, TrainingQuery, training_queries, unlabelled_queries
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.source import SourceIndex

Labels = Mapping[str, int] | Iterable[str] | str
Topics = str | Path | Mapping[str, str]
Qrels = str | Path | Mapping[str, Labels]
Scores = str | Path | Mapping[str, Mapping[str, float]]
Dev = tuple[Topics, Qrels]


@dataclass(frozen=True)
class Inputs:
    """What a training run is made from.

    Attributes
    ----------
    source
        The index to start from.
    queries
        Training queries.
    coverage
        How topics, qrels and index fit.
    embeddings
        Uncompressed, of the same documents in the same order; None where they are not at hand.
    scores
        The scores of a teacher by query id and docid, for margin-MSE.
    dev
        Dev topics and qrels, if there are any.
    names
        Of scores, dev topics and dev qrels, in this order: by these a checkpoint is known.
    """

    source: SourceIndex
    queries: Sequence[TrainingQuery]
    coverage: Coverage
    embeddings: Embeddings | None = None
    scores: Mapping[str, Mapping[str, float]] | None = None
    dev: tuple[Mapping[str, str], Mapping[str, Mapping[str, int]]] | None = None
    names: Sequence[str | None] = (None, None, None)

    def fingerprint(self, options: TrainOptions) -> dict[str, Any]:
        """Return what must be the same for a checkpoint to be taken up, as JSON can hold it."""
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
    topics: Topics,
    qrels: Qrels | None,
    embeddings: Path | None = None,
    scores: Scores | None = None,
    dev: Dev | None = None,
) -> Inputs:
    """Read and match all that is given, by mapping, file or name, as `train` takes it."""
    queries, coverage = _queries(source, topics, qrels)
    taught = scores if scores is None or isinstance(scores, Mapping) else read_scores(str(scores))
    watched = (topics_of(dev[0]), qrels_of(dev[1])) if dev else None
    names = [_name(*pair) for pair in zip((scores, *(dev or ())), (taught, *(watched or ())), strict=True)]
    names += [None] * (3 - len(names))
    return Inputs(source, queries, coverage, find_embeddings(source, embeddings), taught, watched, names)


def topics_of(given: Topics) -> Mapping[str, str]:
    """Return query texts by query id, of a mapping, a file or a name.

    Raises
    ------
    TopicsError
        If there is none, or one is no text.
    """
    if not isinstance(given, Mapping):
        return read_topics(str(given))
    if not given:
        raise TopicsError("topics hold no query")
    for qid, text in given.items():
        if not isinstance(text, str) or not text.strip():
            raise TopicsError(f"topics: query {qid!r} is {text!r}; expected its text")
    return {str(qid): text for qid, text in given.items()}


def qrels_of(given: Qrels) -> Mapping[str, Mapping[str, int]]:
    """Return grades by query id and docid, of a mapping, a file or a name; docids without a grade get 1.

    Raises
    ------
    TopicsError
        If there is none, or a grade is no whole number.
    """
    if not isinstance(given, Mapping):
        return read_qrels(str(given))
    if not given:
        raise TopicsError("qrels hold no judgement")
    return {str(qid): _grades(qid, labels) for qid, labels in given.items()}


def _grades(qid: object, labels: Labels) -> dict[str, int]:
    try:
        if isinstance(labels, Mapping):
            grades = {str(docid): int(grade) for docid, grade in labels.items()}
            if all(grades[str(docid)] == grade for docid, grade in labels.items()):
                return grades
        elif isinstance(labels, str | int):
            return {str(labels): 1}
        else:
            return {str(docid): 1 for docid in labels}
    except (TypeError, ValueError):
        pass
    raise TopicsError(f"qrels: query {qid!r} has {labels!r}; expected grades by docid, docids, or a docid")


def find_embeddings(source: SourceIndex, given: Path | None) -> Embeddings | None:
    """Open the uncompressed embeddings of an index: those that are given, or those that it names, where they still are.

    Raises
    ------
    TrainingError
        If those that are given are of other documents.
    EmbeddingsError
        If they cannot be read.
    """
    folder = given or source.folder.embeddings()
    if folder is None or (given is None and not folder.is_dir()):
        return None
    try:
        embeddings = Embeddings(folder)
        same = embeddings.documents == source.manifest.documents and list(embeddings.docids()) == source.docids
    except JPQError:
        if given:
            raise
        return None
    if same:
        return embeddings
    if given:
        raise TrainingError(
            f"{folder} does not hold the embeddings of the documents of {source.folder.path}, in their order"
        )
    return None


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
    """Return the name of a file, or a hash of what was read of a mapping."""
    if not isinstance(given, Mapping):
        return None if given is None else str(given)
    return "sha256:" + hashlib.sha256(json.dumps(read, sort_keys=True, default=float).encode()).hexdigest()

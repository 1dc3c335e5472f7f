"""Collections, topics and qrels of ir_datasets, by names such as `ir_datasets:beir/nfcorpus/test`.

ir_datasets fetches what it does not have yet; giving such a name asks for that.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyserini_jpq.data.collection import Collection, Document
from pyserini_jpq.data.ids import check_id
from pyserini_jpq.data.lines import check_text
from pyserini_jpq.errors import CollectionError, InstallationError, JPQError, TopicsError, first_line, how_to_install

PREFIX = "ir_datasets:"
_TEXT_FIELDS = ("text", "body", "abstract", "contents")


def is_ir_datasets(source: str | Path) -> bool:
    """Tell whether a text is the name of a dataset of ir_datasets."""
    return str(source).startswith(PREFIX)


class IRDatasetsCollection(Collection):
    """The documents of a dataset, read as those of a file are.

    Parameters
    ----------
    name
        Such as `ir_datasets:beir/nfcorpus`.
    skip_empty
        As in `Collection`.

    Raises
    ------
    CollectionError
        If there is no such dataset, or it has no documents.
    """

    def __init__(self, name: str | Path, skip_empty: bool = False) -> None:
        self._records = _Records(str(name), "docs", CollectionError)
        super().__init__(name, skip_empty)

    def _files(self) -> list[Path]:
        return []

    def _documents(self) -> Iterator[tuple[str, Document | None]]:
        for where, record in self._records:
            yield where, self._kept(_document(record, where), where)


def topics_of_dataset(name: str) -> dict[str, str]:
    """Return query texts by query id, in the order of the dataset.

    Raises
    ------
    TopicsError
        If there is no such dataset, it has no queries, or one of them is empty.
    """
    topics: dict[str, str] = {}
    for where, query in _Records(name, "queries", TopicsError):
        check_id(query.query_id, where, TopicsError, "qid")
        check_text(text := query.default_text().strip(), where, TopicsError)
        if not text:
            raise TopicsError(f"{where}: query {query.query_id!r} is empty")
        topics[query.query_id] = text
    return topics


def qrels_of_dataset(name: str) -> dict[str, dict[str, int]]:
    """Return grades by query id and docid, in the order of the dataset.

    Raises
    ------
    TopicsError
        If there is no such dataset, or it has no qrels.
    """
    qrels: dict[str, dict[str, int]] = {}
    for where, label in _Records(name, "qrels", TopicsError):
        check_id(label.query_id, where, TopicsError, "qid")
        check_id(label.doc_id, where, TopicsError)
        qrels.setdefault(label.query_id, {})[label.doc_id] = int(label.relevance)
    return qrels


class _Records:
    """The documents, queries or qrels of a dataset, each with its place for messages."""

    def __init__(self, name: str, what: str, error: type[JPQError]) -> None:
        self._name, self._what, self._error = name, what, error
        self._dataset = _dataset(name, error)
        if not getattr(self._dataset, f"has_{what}")():
            raise error(f"{name} has no {what}; `ir_datasets list` shows what each dataset has")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        number = 0
        try:
            for number, record in enumerate(getattr(self._dataset, f"{self._what}_iter")(), start=1):
                yield f"{self._name}, number {number} of its {self._what}", record
        except (OSError, RuntimeError) as problem:  # as ir_datasets raises where it cannot fetch
            raise self._error(f"{self._name}: its {self._what} cannot be read ({first_line(problem)})") from problem
        if not number:
            raise self._error(f"{self._name} holds no {self._what}")


def _dataset(name: str, error: type[JPQError]) -> Any:
    try:
        import ir_datasets
    except ImportError:
        raise InstallationError(f"{name} needs ir_datasets: {how_to_install('ir_datasets')}") from None
    try:
        return ir_datasets.load(name.removeprefix(PREFIX))
    except KeyError:
        raise error(
            f"ir_datasets knows no dataset {name.removeprefix(PREFIX)!r}; `ir_datasets list` shows all"
        ) from None


def _document(record: Any, where: str) -> Document:
    """Return title, text and URL of a document; its default text where it has no field for the text alone."""
    check_id(record.doc_id, where, CollectionError)
    name = next((field for field in _TEXT_FIELDS if hasattr(record, field)), None)
    if name is None:
        title, text = "", record.default_text()
    else:
        title, text = getattr(record, "title", None) or "", getattr(record, name) or ""
    check_text(f"{title}{text}", where, CollectionError)
    return Document(record.doc_id, title.strip(), text.strip(), getattr(record, "url", None) or "")

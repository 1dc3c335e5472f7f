"""Topics and qrels by the names that pyserini knows, and topics in the formats that only pyserini reads."""

import contextlib
import difflib
import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pyserini_jpq.compat.loading import java_exception, load, stdout_to_stderr
from pyserini_jpq.errors import TopicsError

# Anserini's readers of topics. The first three names are Pyserini's formats, the others ours.
TOPICS_READERS = {
    "raw_jsonl": "JsonStringTopicReader",
    "tsv": "TsvStringTopicReader",
    "trec": "TrecTopicReader",
    "cacm": "CacmTopicReader",
    "web": "WebTopicReader",
    "webxml": "WebxmlTopicReader",
    "microblog": "MicroblogTopicReader",
    "covid": "CovidTopicReader",
    "dpr": "DprNqTopicReader",
}
_READER_OF_SUFFIX = {".tsv": "tsv", ".txt": "tsv", ".trec": "trec", ".jsonl": "raw_jsonl"}
# pyserini keeps the official order of the queries under one name of a set only, and loses it under its aliases.
_ORDERED_NAMES = dict.fromkeys(
    ("msmarco-passage-dev", "msmarco-passage.dev", "msmarco-v1-passage-dev", "msmarco-v1-passage.dev"),
    "msmarco-passage-dev-subset",
)


def topics_by_name(name: str) -> list[tuple[str, str]]:
    """Return the topics that pyserini knows by a name.

    Parameters
    ----------
    name
        Such as `dl19-passage` or `msmarco-passage-dev-subset`.

    Returns
    -------
    list of (qid, text)
        In the official order where pyserini has one, else sorted by qid.

    Raises
    ------
    TopicsError
        If the name is unknown, or the file is not there and cannot be fetched.
    """
    iterators = load("pyserini.query_iterator")
    name = _ORDERED_NAMES.get(name, name)
    try:
        with stdout_to_stderr():
            topics = load("pyserini.search").get_topics(name)
    except ValueError:
        raise _unknown("topics", name) from None
    except (OSError, java_exception()) as error:
        path = _cached_file("topics", name)
        if path is None:
            raise _unreachable("topics", name, error) from None
        # pyserini's official orders name queries by numbers.
        found = _read(path, _guess_reader(path)).items()
        topics = {int(qid) if qid.isdigit() else qid: fields for qid, fields in found}
    with contextlib.redirect_stdout(io.StringIO()):  # it says which order it took
        order = iterators.QueryIterator.get_predefined_order(name)
    return _pairs(iterators.DefaultQueryIterator(topics, order))


def topics_from_file(path: str, topics_format: str = "default") -> list[tuple[str, str]]:
    """Return the topics in a file of a format that pyserini reads.

    Parameters
    ----------
    path
        The file; with `kilt`, also one of the names that pyserini knows.
    topics_format
        A key of `TOPICS_READERS`, `kilt`, or `default`: by what the file looks like.

    Returns
    -------
    list of (qid, text)
        Sorted by qid, text on one line; with `kilt` in the order of the file.

    Raises
    ------
    TopicsError
        If the file is not there, its format is unknown, or it cannot be read as that.
    """
    if topics_format == "kilt":
        return _kilt_topics(path)
    if not Path(path).is_file():
        raise TopicsError(f"{path}: no such file of topics")
    reader = _guess_reader(Path(path)) if topics_format == "default" else TOPICS_READERS.get(topics_format)
    if reader is None:
        known = ", ".join(["kilt", *TOPICS_READERS])
        raise TopicsError(f"{path}: cannot tell how to read it as topics; give --topics-format, one of {known}")
    topics = _read(Path(path), reader)
    if not topics:
        raise TopicsError(f"{path}: no topics in it for {reader}; check the file and --topics-format")
    return [(qid, " ".join(text.split())) for qid, text in _in_order(topics)]


def qrels_path_by_name(name: str) -> str:
    """Return the file of the qrels that pyserini knows by a name, fetched if need be.

    Raises
    ------
    TopicsError
        If the name is unknown, or the file is not there and cannot be fetched.
    """
    try:
        with stdout_to_stderr():
            return str(load("pyserini.search").get_qrels_file(name))
    except FileNotFoundError:
        raise _unknown("qrels", name) from None
    except (OSError, java_exception()) as error:
        path = _cached_file("qrels", _ORDERED_NAMES.get(name, name))
        if path is None:
            raise _unreachable("qrels", name, error) from None
        return str(path)


def _kilt_topics(source: str) -> list[tuple[str, str]]:
    try:
        with stdout_to_stderr():
            return _pairs(load("pyserini.query_iterator").KiltQueryIterator.from_topics(source))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TopicsError(
            f"{source}: not KILT's topics, nor the name of any that can be fetched ({_first_line(error)}); "
            "they are JSON lines with `id` and `input`"
        ) from None


def _guess_reader(path: Path) -> str | None:
    """Return the reader for a file by its suffix; files with tags in angle brackets are told by these."""
    start = _content(path)[:4096].lower()
    if b"<top>" in start:
        return TOPICS_READERS["trec"]
    if b"<doc>" in start:
        return TOPICS_READERS["cacm"]
    return TOPICS_READERS.get(_READER_OF_SUFFIX.get(Path(path.name.lower().removesuffix(".gz")).suffix, ""))


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked where it is gzipped, whatever its name."""
    raw = path.read_bytes()
    try:
        return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (OSError, EOFError, zlib.error) as problem:
        raise TopicsError(f"{path} is no whole gzip file: {problem}") from None


def _read(path: Path, reader: str | None) -> dict[str, dict[str, str]]:
    """Return the fields of topics by qid; pyserini's own function would make 1 of the qid `0001`."""
    is_new = hasattr(load("pyserini.search"), "load_topics_from_file")  # 2.x
    java = load("pyserini.search._base").JTopicReader.getTopicsWithStringIdsFromFileWithTopicReaderClass
    reader_class = f"io.anserini.search.topicreader.{reader}"
    try:
        with tempfile.TemporaryDirectory() as folder, stdout_to_stderr():
            plain = Path(folder) / "topics"  # Anserini reads no gzip here
            plain.write_bytes(_content(path))
            found = java(str(plain), reader_class) if is_new else java(reader_class, str(plain))
        if found is None:
            raise ValueError("it finds no topics")
        fields = {str(qid): found.get(qid) for qid in found.keySet().toArray()}
    except (ValueError, java_exception()) as error:
        raise TopicsError(f"{path}: {reader} cannot read it ({_first_line(error)}); check --topics-format") from None
    return {qid: {str(key): topic.get(key) for key in topic.keySet().toArray()} for qid, topic in fields.items()}


def _in_order(topics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the queries of topics, sorted by qid; as numbers where all are."""
    numbers = all(qid.isascii() and qid.isdigit() for qid in topics)
    order = sorted(topics, key=lambda qid: (int(qid), qid) if numbers else (0, qid))
    return _pairs(load("pyserini.query_iterator").DefaultQueryIterator(topics, order))


def _pairs(iterator: Iterable[tuple[Any, Any]]) -> list[tuple[str, str]]:
    return [(str(qid), str(text or "")) for qid, text in iterator]


def _known_names(kind: str) -> Mapping[str, Any]:
    """Return pyserini's names of topics or qrels; none where 2.x, which fetches them, cannot."""
    base = load("pyserini.search._base")
    mapping: Mapping[str, Any]
    if hasattr(base, f"_get_{kind}_mapping"):
        try:
            mapping = getattr(base, f"_get_{kind}_mapping")()
        except OSError:
            return {}
    else:
        mapping = getattr(base, f"{kind}_mapping")
    return mapping


def _unknown(kind: str, name: str) -> TopicsError:
    near = difflib.get_close_matches(name, _known_names(kind), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return TopicsError(f"{kind} {name!r}: neither a file nor a name that pyserini knows{hint}")


def _unreachable(kind: str, name: str, error: Exception) -> TopicsError:
    file = getattr(_known_names(kind).get(name), "path", None) or f"{kind}.{name}.txt"
    return TopicsError(
        f"{kind} {name!r}: not on this machine and cannot be fetched ({_first_line(error)}); "
        f"put the file {file} into {_cache_folders(kind)[0]} yourself"
    )


def _cache_folders(kind: str) -> list[Path]:
    home = Path(load("pyserini.util").get_cache_home())
    return [home / "topics-and-qrels", home / kind]  # 1.6 fetches into the first, 2.x into the second


def _cached_file(kind: str, name: str) -> Path | None:
    """Return the file for a name from where pyserini keeps them; 2.x does not look there without a network."""
    # Names differ from file names in dashes and dots, BEIR's may leave `test` out, DL20's topics serve both its tasks.
    for variant in (name, f"{name}-test", name.removesuffix("-passage").removesuffix("-doc")):
        for path in (path for folder in _cache_folders(kind) for path in sorted(folder.glob(f"{kind}.*"))):
            stem = re.sub(r"\.(txt|tsv|jsonl|trec)(\.gz)?$", "", path.name).removeprefix(f"{kind}.")
            if stem.replace(".", "-") == variant.replace(".", "-"):
                return path
    return None


def _first_line(error: Exception) -> str:
    return str(getattr(error, "reason", error)).strip().partition("\n")[0].removeprefix("JVM exception occurred: ")

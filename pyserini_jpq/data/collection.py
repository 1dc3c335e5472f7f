"""Collections of documents, in the formats that Pyserini reads: JSONL, gzipped or not, and MS MARCO's two TSVs."""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from string import Formatter

from pyserini_jpq.bars import Progress
from pyserini_jpq.data.ids import check_id, repeated
from pyserini_jpq.data.lines import check_text, is_header, json_object, lines_of
from pyserini_jpq.errors import CollectionError, EncoderError

ID_FIELDS = ("id", "_id", "docid")
_JSONL = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_TSV = (".tsv", ".tsv.gz")
# In the layouts of BEIR and MS MARCO, the other files of a folder with one of these are queries and the like.
_COLLECTION_NAMES = (
    *("corpus.jsonl", "corpus.jsonl.gz", "collection.tsv", "collection.tsv.gz"),
    *("msmarco-docs.tsv", "msmarco-docs.tsv.gz"),
)
_FOUR_COLUMNS = "msmarco-docs"


@dataclass(frozen=True)
class Document:
    """A document: its external id, and its fields `title`, `text` and `url`, any of which may be empty."""

    docid: str
    title: str
    text: str
    url: str = ""

    def fields(self) -> dict[str, str]:
        """Return the fields by name, without the docid and those that are empty."""
        fields = {"title": self.title, "text": self.text, "url": self.url}
        return {name: value for name, value in fields.items() if value}

    def as_json(self) -> str:
        """Return the document as a JSON object, as a Lucene index would store it, without the fields that are empty."""
        return json.dumps({"id": self.docid, **self.fields()}, ensure_ascii=False)

    def render(self, template: str) -> str:
        """Join the fields by a template such as `{title} {text}`; an empty field goes with the separator before it.

        A field written as `{title:keep}` keeps its separator even where it is empty.
        """
        out = ""
        first = True
        for position, (literal, name, spec, _) in enumerate(Formatter().parse(template)):
            value = getattr(self, name) if name else ""
            if spec == "keep":
                out += literal + value
                first = False
            elif value:
                out += ("" if first and position else literal) + value
                first = False
            elif not name or position == 0:
                out += literal
        return out.strip()


def check_template(template: str) -> None:
    """Raise EncoderError if a template cannot be rendered, or holds none of a document's fields."""
    known = [field.name for field in fields(Document) if field.name != "docid"]
    try:
        names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError:
        names = set()
    if not names or not names <= set(known):
        raise EncoderError(
            f"the document template {template!r} cannot be used; join {', '.join(f'{{{name}}}' for name in known)} "
            "as in '{title} {text}'"
        )


@dataclass(frozen=True)
class Summary:
    """Number of documents, number of documents left out, and a fingerprint of a collection."""

    documents: int
    skipped: int
    sha256: str


class Collection:
    """The documents of a file or of a folder of files, in the order of file names and lines.

    Parameters
    ----------
    path
        A `.jsonl`, `.json` or `.tsv` file, gzipped or not, or a folder of such files. A file whose name begins with
        `msmarco-docs` has the four columns docid, url, title, body; other TSVs have docid and text.
    skip_empty
        Leave out documents with neither title nor text, instead of refusing them.

    Raises
    ------
    CollectionError
        If there is nothing to read at that path.
    """

    def __init__(self, path: str | Path, skip_empty: bool = False) -> None:
        self.path = Path(path)
        self.skip_empty = skip_empty
        self.files = self._files()
        self._summary: Summary | None = None

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents in order, each line checked as it is read."""
        for _, document in self._documents():
            if document is not None:
                yield document

    def scan(self) -> Summary:
        """Read and check the whole collection, before hours go into encoding it; a second call reads nothing.

        Raises
        ------
        CollectionError
            For the first line that cannot be used, with its file and number.
        """
        if self._summary is None:
            self._summary = self._scan()
        return self._summary

    def _scan(self) -> Summary:
        digest = hashlib.sha256()
        docids = array("q")
        skipped = 0
        # Hashes of 8 bytes instead of docids: 9 million fit in 70 MB.
        for _, document in Progress(self._documents(), desc="checking", unit=" documents", delay=2, leave=False):
            if document is None:
                skipped += 1
                continue
            docids.append(hash(document.docid))
            fields = [document.docid, document.title, document.text, *([document.url] if document.url else [])]
            digest.update(("\t".join(fields) + "\n").encode("utf-8", "surrogatepass"))
        if not docids:
            raise CollectionError(f"{self.path} holds no document; expected one JSON object or `docid<TAB>text` a line")
        self._refuse_duplicates(repeated(docids))
        return Summary(len(docids), skipped, digest.hexdigest())

    def _files(self) -> list[Path]:
        return _files_of(self.path)

    def _documents(self) -> Iterator[tuple[str, Document | None]]:
        """Yield (file and line, document) pairs; None for a document that is left out."""
        for file in self.files:
            parse = _parser_of(file)
            for number, raw in lines_of(str(file), CollectionError):
                line = raw.decode().rstrip("\r\n")
                if not line.strip() or (number == 1 and is_header(line.split("\t"))):
                    continue
                where = f"{file} line {number}"
                document = parse(line, where)
                check_id(document.docid, where, CollectionError)
                yield where, self._kept(document, where)

    def _kept(self, document: Document, where: str) -> Document | None:
        """Return a document, or None if it is empty and left out."""
        if document.title or document.text or document.url:
            return document
        if not self.skip_empty:
            raise CollectionError(f"{where}: document {document.docid!r} has no text; mend it, or give --skip-empty")
        return None

    def _refuse_duplicates(self, suspects: set[int]) -> None:
        """Raise if two docids with one of these hashes are equal."""
        first: dict[str, str] = {}
        for where, document in self._documents() if suspects else ():
            if document is None or hash(document.docid) not in suspects:
                continue
            if document.docid in first:
                raise CollectionError(
                    f"{where}: docid {document.docid!r} was used before, in {first[document.docid]}; "
                    "every document needs its own"
                )
            first[document.docid] = where


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CollectionError(f"{path} does not exist; --corpus takes a JSONL or TSV file or a folder of them")
    for name in _COLLECTION_NAMES:
        if (path / name).is_file():
            return [path / name]
    found = (p for p in path.rglob("*") if p.name.lower().endswith(_JSONL + _TSV))
    files = sorted(p for p in found if p.is_file() and not _is_hidden(p, path))
    if not files:
        raise CollectionError(f"{path} holds no .jsonl, .json or .tsv file (.gz or not)")
    return files


def _is_hidden(file: Path, folder: Path) -> bool:
    """Tell whether a part of the path begins with a dot, as notebooks' checkpoints and macOS's archives have it."""
    return any(name.startswith(".") for name in file.relative_to(folder).parts)


def _parser_of(file: Path) -> Callable[[str, str], Document]:
    if not file.name.lower().endswith(_TSV):
        return _parse_json
    return _parse_msmarco_docs if file.name.lower().startswith(_FOUR_COLUMNS) else _parse_tsv


def _parse_json(line: str, where: str) -> Document:
    found = json_object(line, where, CollectionError)
    docid = next((found[name] for name in ID_FIELDS if found.get(name) is not None), None)
    if not isinstance(docid, str | int) or isinstance(docid, bool):
        raise CollectionError(f"{where} has no docid; expected a text or a whole number under {', '.join(ID_FIELDS)}")
    text_field = "text" if found.get("text") or "contents" not in found else "contents"
    texts = {name: found.get(name) or "" for name in ("title", text_field)}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise CollectionError(f"{where}: field {name!r} is no text")
    if text_field not in found and "title" not in found:
        raise CollectionError(f"{where} has neither `contents` nor `text`")
    check_text(f"{docid}{texts['title']}{texts[text_field]}", where, CollectionError)
    return Document(str(docid), texts["title"].strip(), texts[text_field].strip())


def _parse_tsv(line: str, where: str) -> Document:
    docid, tab, text = line.partition("\t")
    if not tab:
        raise CollectionError(f"{where} has no tab; expected `docid<TAB>text`")
    return Document(docid, "", text.strip())


def _parse_msmarco_docs(line: str, where: str) -> Document:
    columns = line.split("\t")
    if len(columns) != 4:
        raise CollectionError(f"{where} has {len(columns)} columns; expected `docid<TAB>url<TAB>title<TAB>body`")
    # Only the end is trimmed, as the released code of STAR and JPQ does: token ids depend on white space in front.
    docid, url, title, body = (column.rstrip() for column in columns)
    return Document(docid, title, body, url)

"""Converting as one function: `convert("OPQ96,IVF1,PQ96x8.index", "indexes/x", source="jpq")`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyserini_jpq import cli
from pyserini_jpq.errors import ConversionError, EncoderError
from pyserini_jpq.files import refuse_existing, refuse_existing_file, write_json_atomically
from pyserini_jpq.options import Options, option, switch, yes_or_no
from pyserini_jpq.trust.plain import read_json

if TYPE_CHECKING:
    from pyserini_jpq.convert.importing import KnownEncoder

Format = Literal["jpq", "faiss", "hub"]
FORMATS: tuple[Format, ...] = ("jpq", "faiss", "hub")


@dataclass(frozen=True)
class ConvertOptions(Options):
    """What comes with an index that is imported or exported."""

    docid: Path | None = option(None, "file of docids, one a line in the order of ids; on export, written", Path)
    pid2offset: Path | None = option(
        None, "map of docids to ids, pickled dict or TSV; on export, written by its suffix", Path
    )
    strip_docid_prefix: str = option("", "take this off the docids", metavar="D")
    encoder: str | None = option(
        None, "card, folder or Hugging Face name; a RobertaDot checkpoint (jpq); on export, folder to write"
    )
    overwrite: bool = option(False, "replace what the outputs hold", switch)
    docid_prefix: str = option("", "put this in front of docids without it", metavar="D")
    document_encoder: str | None = option(
        None, "card or folder of the documents' encoder, where it is another one (jpq)"
    )
    output_encoder: Path | None = option(None, "where a checkpoint's encoder goes (encoders/NAME)", Path)
    tokenizer: str | None = option(None, "of a checkpoint that has none: folder or Hugging Face name")
    initial_index: Path | None = option(None, "index that training started from: documents can be appended (jpq)", Path)
    any_metric: bool = option(False, "take an index that ranks by L2 distance, too (faiss)", switch)
    blocks: bool = option(True, "keep the codes once more, for a faster search", yes_or_no)
    initial: bool = option(False, "with the initial centroids in place of the trained ones", switch)
    private: bool = option(False, "make a private repository (hub)", switch)
    about: Path | None = option(None, "Markdown file for the model card: data and figures (hub)", Path)


_NONE = ConvertOptions()


def convert(
    index: str | Path,
    output: str | Path,
    *,
    source: Format | None = None,
    target: Format | None = None,
    options: ConvertOptions | None = None,
) -> Path:
    """Import an index that others made, or export one for others.

    Parameters
    ----------
    index
        The file, folder or repository to import; the folder or the name of the index to export.
    output
        The index folder to write; on export, the index file, or the repository `OWNER/NAME`.
    source
        Import: `jpq`, the authors' format, `faiss`, or `hub`, a repository of Hugging Face.
    target
        Export, in place of `source`.
    options
        What comes with the index; the defaults of `ConvertOptions` if None.

    Returns
    -------
    pathlib.Path
        The output.

    Raises
    ------
    ConversionError
        If the index is of a type that JPQ cannot represent, or files do not belong together.
    EncoderError
        If an encoder cannot be loaded.
    OutputError
        If an output exists and is not to be replaced, or cannot be written.

    Examples
    --------
    >>> convert(INDEX, FOLDER / "x.faiss", target="faiss", options=ConvertOptions(docid=FOLDER / "x.docid")).name
    'x.faiss'
    >>> options = ConvertOptions(encoder=ENCODER, docid=FOLDER / "x.docid")
    >>> convert(FOLDER / "x.faiss", FOLDER / "again", source="faiss", options=options).name
    'again'
    """
    if (source is None) == (target is None) or (source or target) not in FORMATS:
        raise ConversionError(f"give either source or target, one of {', '.join(FORMATS)}")
    options = ConvertOptions.of(options)
    if "hub" in (source, target):
        _share(str(index), str(output), source, options)
    elif source:
        _import(index, Path(output), source, options)
    else:
        _export(str(index), Path(output), target, options)
    return Path(output)


def _share(index: str, output: str, source: str | None, options: ConvertOptions) -> None:
    """Fetch an index from the hub, or send one there."""
    from pyserini_jpq.convert.hub import pull, push, split_revision
    from pyserini_jpq.index.opening import open_folder

    used = ("overwrite",) if source else ("private", "about")
    if stray := [name for name, value in vars(options).items() if value != getattr(_NONE, name) and name not in used]:
        raise ConversionError(f"{stray[0]} does not go with the hub, which holds an index whole; leave it out")
    if source:
        repo, revision = split_revision(index)
        pull(repo, Path(output), revision=revision, overwrite=options.overwrite)
    else:
        about = options.about.read_text(encoding="utf-8") if options.about else ""
        repo, _ = split_revision(output)
        cli.say(push(open_folder(index), repo, private=options.private, about=about))


def _import(index: str | Path, output: Path, source: str, options: ConvertOptions) -> None:
    from pyserini_jpq.convert.docids import DocidStyle, docids_of
    from pyserini_jpq.convert.encoder import is_checkpoint
    from pyserini_jpq.convert.foreign import read_foreign
    from pyserini_jpq.convert.importing import import_faiss, import_jpq

    path, docid = Path(index), options.docid
    if (path / "docid").is_file() and not (docid or options.pid2offset):
        docid = path / "docid"
    made = None  # an encoder folder beside the index
    if source == "jpq" and options.encoder and is_checkpoint(Path(options.encoder)):
        made = options.output_encoder or Path("encoders") / output.name
    with _together([output, *([made] if made else [])], path, options.overwrite) as overwrite:
        foreign = read_foreign(path)
        style = DocidStyle(options.docid_prefix, options.strip_docid_prefix)
        docids = docids_of(foreign.ids, docid, options.pid2offset, style)
        query = _query_encoder(options.encoder, made, options.tokenizer, overwrite) if options.encoder else None
        if source == "jpq":
            document = _document_encoder(options.document_encoder) if options.document_encoder else None
            initial = options.initial_index
            folder = import_jpq(foreign, output, docids, query, document, initial, overwrite, options.blocks)
        else:
            folder = import_faiss(foreign, output, docids, query, options.any_metric, overwrite, options.blocks)
    if not foreign.inner_product:
        cli.warn(f"{path} ranked by L2 distance; {output} ranks by inner product, so otherwise")
    if not options.encoder:
        cli.warn(f"{output} names no encoder: search needs --encoder, and training cannot start from it")
    if not folder.manifest.initial_centroids_known:
        cli.warn("the initial centroids are not known, so no document can be appended; --initial-index names them")


def _export(index: str, output: Path, target: str | None, options: ConvertOptions) -> None:
    from pyserini_jpq.convert.docids import DocidStyle, write_docid_file, write_pid2offset
    from pyserini_jpq.convert.encoder import export_encoder
    from pyserini_jpq.convert.exporting import export_faiss, export_jpq
    from pyserini_jpq.index.encoders import query_encoder_source
    from pyserini_jpq.index.manifest import INDEX
    from pyserini_jpq.index.opening import open_folder

    folder = open_folder(index)
    for file in filter(None, (output, options.docid, options.pid2offset)):
        refuse_existing_file(file, overwrite=True)  # a folder is never replaced by a file
    with _together(outputs_of(output, options), folder.path / INDEX, options.overwrite) as overwrite:
        style = DocidStyle(strip=options.strip_docid_prefix)
        docids = [style(docid) for docid in folder.docids()] if options.docid or options.pid2offset else []
        if options.encoder:
            export_encoder(query_encoder_source(folder), Path(options.encoder), overwrite)
        (export_jpq if target == "jpq" else export_faiss)(folder, output, options.initial, overwrite)
        if options.docid:
            write_docid_file(docids, options.docid)
        if options.pid2offset:
            write_pid2offset(docids, options.pid2offset)


def outputs_of(output: Path, options: ConvertOptions) -> list[Path]:
    """Return all that an export writes."""
    encoder = Path(options.encoder) if options.encoder else None
    return [path for path in (output, options.docid, options.pid2offset, encoder) if path]


@contextmanager
def _together(outputs: Sequence[Path], source: Path, overwrite: bool) -> Iterator[bool]:
    """Write several outputs as one: a conversion that was killed between them goes on when it is repeated.

    Yields
    ------
    bool
        Whether outputs may be replaced: by request, or because an earlier attempt left them.
    """
    note = outputs[0].with_name(f".{outputs[0].name}.converting")
    stat = source.stat() if source.exists() else None
    work: dict[str, Any] = {"outputs": [str(path.resolve()) for path in outputs], "source": str(source.resolve())}
    work |= {"bytes": stat and stat.st_size, "modified": stat and stat.st_mtime_ns}
    goes_on = _read(note) == work
    for path in () if goes_on else outputs:
        refuse_existing(path, overwrite)
    if overwrite or len(outputs) == 1:
        yield overwrite
        return
    write_json_atomically(note, work)
    try:
        yield goes_on
    except Exception:
        if not any(path.exists() for path in outputs):
            note.unlink()
        raise
    note.unlink()


def _read(note: Path) -> Any:
    try:
        return read_json(note)
    except (OSError, ValueError):
        return None


def _query_encoder(name: str, made: Path | None, tokenizer: str | None, overwrite: bool) -> "KnownEncoder":
    from pyserini_jpq.convert.encoder import import_encoder
    from pyserini_jpq.convert.importing import know_encoder
    from pyserini_jpq.encode.source import find_encoder

    if made is None:
        return know_encoder(find_encoder(name))
    return know_encoder(import_encoder(Path(name), made, tokenizer=tokenizer, overwrite=overwrite))


def _document_encoder(name: str) -> "KnownEncoder":
    """Find the documents' encoder; it is noted even where its weights are not on this machine."""
    from pyserini_jpq.convert.importing import KnownEncoder, know_encoder
    from pyserini_jpq.encode.source import find_encoder

    source = find_encoder(name)
    try:
        if source.card.weights and not Path(source.card.backbone).is_dir():
            raise EncoderError(f"the weights of {name} are not here")  # not fetched for their hash alone
        return know_encoder(source)
    except EncoderError as problem:
        cli.warn(f"{problem}; embeddings of documents to append cannot be compared with {name}")
        return KnownEncoder(source, None)

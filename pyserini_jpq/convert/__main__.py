"""`python -m pyserini_jpq.convert`: indexes and encoders from and to the authors' format and plain faiss."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyserini_jpq import cli

if TYPE_CHECKING:
    from pyserini_jpq.convert.importing import KnownEncoder
    from pyserini_jpq.encode.source import EncoderSource

FORMATS = ("jpq", "faiss")
_IMPORT = ("docid_prefix", "document_encoder", "tokenizer", "initial_index", "output_encoder", "any_metric", "blocks")
_EXPORT = ("initial",)


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("convert", "Import an index that others made, or export one for others.")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--from", dest="source", choices=FORMATS, help="import: jpq is the authors' format")
    way.add_argument("--to", dest="target", choices=FORMATS, help="export: jpq is the authors' format")
    parser.add_argument("--index", required=True, help="file or folder to import; index folder or name to export")
    parser.add_argument("--output", required=True, type=Path, help="index folder to write; on export, the index file")
    parser.add_argument("--docid", type=Path, help="file of docids, one a line in the order of ids; on export, written")
    parser.add_argument(
        "--pid2offset", type=Path, help="map of docids to ids, pickled dict or TSV; on export, written by its suffix"
    )
    parser.add_argument("--strip-docid-prefix", default="", metavar="D", help="take this off the docids")
    parser.add_argument(
        "--encoder", help="card, folder or Hugging Face name; a RobertaDot checkpoint (jpq); on export, folder to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what the outputs hold")

    group = parser.add_argument_group("import")
    group.add_argument("--docid-prefix", default="", metavar="D", help="put this in front of docids without it")
    group.add_argument(
        "--document-encoder", help="card or folder of the documents' encoder, where it is another one (jpq)"
    )
    group.add_argument("--output-encoder", type=Path, help="where a checkpoint's encoder goes (encoders/NAME)")
    group.add_argument("--tokenizer", help="of a checkpoint that has none: folder or Hugging Face name")
    group.add_argument("--initial-index", type=Path, help="index that training started from: documents can be appended")
    group.add_argument("--any-metric", action="store_true", help="take an index that ranks by L2 distance, too (faiss)")
    group.add_argument("--blocks", choices=("yes", "no"), help="keep the codes once more, for a faster search (yes)")

    group = parser.add_argument_group("export")
    group.add_argument("--initial", action="store_true", help="with the initial centroids in place of the trained ones")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    for way, foreign in (("--from", _EXPORT), ("--to", _IMPORT)):
        if wrong := [n for n in foreign if getattr(args, n) and (args.source is None) == (way == "--to")]:
            parser.error(f"--{wrong[0].replace('_', '-')} does not go with {way}")
    if args.source == "faiss" and (wrong := [n for n in ("document_encoder", "initial_index") if getattr(args, n)]):
        parser.error(f"--{wrong[0].replace('_', '-')} goes with --from jpq: an index of plain faiss was not trained")
    if args.source:
        import_from(args)
    else:
        export_to(args)


def import_from(args: argparse.Namespace) -> None:
    """Import what the flags name."""
    from pyserini_jpq.convert.docids import DocidStyle, docids_of
    from pyserini_jpq.convert.foreign import read_foreign
    from pyserini_jpq.convert.importing import import_faiss, import_jpq, know_encoder
    from pyserini_jpq.encode.source import find_encoder
    from pyserini_jpq.files import refuse_existing

    refuse_existing(args.output, args.overwrite)
    path = Path(args.index)
    beside = path / "docid"
    if path.is_dir() and beside.is_file() and not (args.docid or args.pid2offset):
        args.docid = beside
    style = DocidStyle(args.docid_prefix, args.strip_docid_prefix)
    foreign = read_foreign(path)
    docids = docids_of(foreign.ids, args.docid, args.pid2offset, style)
    blocks = args.blocks != "no"
    if args.source == "jpq":
        query = know_encoder(_query_encoder(args)) if args.encoder else None
        document = _document_encoder(args.document_encoder) if args.document_encoder else None
        initial = args.initial_index
        index = import_jpq(foreign, args.output, docids, query, document, initial, args.overwrite, blocks)
    else:
        encoder = know_encoder(find_encoder(args.encoder)) if args.encoder else None
        index = import_faiss(foreign, args.output, docids, encoder, args.any_metric, args.overwrite, blocks)
        if not foreign.inner_product:
            cli.warn(f"{path} ranked by L2 distance; {args.output} ranks by inner product, so otherwise")
    manifest = index.manifest
    if not args.encoder:
        cli.warn(f"{args.output} names no encoder: search needs --encoder, and training cannot start from it")
    if not manifest.initial_centroids_known:
        cli.warn("the initial centroids are not known, so no document can be appended; --initial-index names them")
    cli.say(f"{manifest.documents} documents of {manifest.bytes_per_document} bytes: {args.output}")


def export_to(args: argparse.Namespace) -> None:
    """Export what the flags name."""
    from pyserini_jpq.convert.docids import DocidStyle, write_docid_file, write_pid2offset
    from pyserini_jpq.convert.encoder import export_encoder
    from pyserini_jpq.convert.exporting import export_faiss, export_jpq
    from pyserini_jpq.files import refuse_existing
    from pyserini_jpq.index.encoders import query_encoder_source
    from pyserini_jpq.index.folder import IndexFolder, find_index

    index = IndexFolder(find_index(args.index))
    encoder_output = Path(args.encoder) if args.encoder else None
    for output in (args.output, args.docid, args.pid2offset, encoder_output):
        if output is not None:
            refuse_existing(output, args.overwrite)
    style = DocidStyle(strip=args.strip_docid_prefix)
    docids = [style(docid) for docid in index.docids()] if args.docid or args.pid2offset else []
    if encoder_output:
        export_encoder(query_encoder_source(index), encoder_output, args.overwrite)
    export = export_jpq if args.target == "jpq" else export_faiss
    export(index, args.output, args.initial, args.overwrite)
    if args.docid:
        write_docid_file(docids, args.docid)
    if args.pid2offset:
        write_pid2offset(docids, args.pid2offset)
    written = [str(path) for path in (args.output, args.docid, args.pid2offset, encoder_output) if path]
    cli.say(f"{index.manifest.documents} documents: {', '.join(written)}")


def _query_encoder(args: argparse.Namespace) -> "EncoderSource":
    from pyserini_jpq.convert.encoder import import_encoder, is_checkpoint
    from pyserini_jpq.encode.source import find_encoder

    if not is_checkpoint(Path(args.encoder)):
        return find_encoder(args.encoder)
    output = args.output_encoder or Path("encoders") / args.output.name
    return import_encoder(Path(args.encoder), output, tokenizer=args.tokenizer, overwrite=args.overwrite)


def _document_encoder(name: str) -> "KnownEncoder":
    """Find the documents' encoder; where its weights are not here, what is known of it is noted all the same."""
    from pyserini_jpq.convert.importing import KnownEncoder, know_encoder
    from pyserini_jpq.encode.source import find_encoder
    from pyserini_jpq.errors import EncoderError

    source = find_encoder(name)
    try:
        if source.card.weights and not Path(source.card.backbone).is_dir():
            raise EncoderError(f"the weights of {name} are not here")  # not fetched for their hash alone
        return know_encoder(source)
    except EncoderError as problem:
        cli.warn(f"{problem}; embeddings of documents to append cannot be compared with {name}")
        return KnownEncoder(source, None)


if __name__ == "__main__":
    sys.exit(cli.run(main))

"""`python -m pyserini_jpq.convert`: indexes and encoders from and to the authors' format and plain faiss."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.convert.run import FORMATS, ConvertOptions, convert, outputs_of
from pyserini_jpq.index.folder import IndexFolder, find_index
from pyserini_jpq.options import from_flags, yes_or_no

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
    group.add_argument(
        "--blocks", type=yes_or_no, metavar="yes|no", help="keep the codes once more, for a faster search (yes)"
    )

    group = parser.add_argument_group("export")
    group.add_argument("--initial", action="store_true", help="with the initial centroids in place of the trained ones")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    for way, foreign in (("--from", _EXPORT), ("--to", _IMPORT)):
        given = [name for name in foreign if getattr(args, name) != parser.get_default(name)]
        if given and (args.source is None) == (way == "--to"):
            parser.error(f"--{given[0].replace('_', '-')} does not go with {way}")
    if args.source == "faiss" and (wrong := [n for n in ("document_encoder", "initial_index") if getattr(args, n)]):
        parser.error(f"--{wrong[0].replace('_', '-')} goes with --from jpq: an index of plain faiss was not trained")
    options = from_flags(ConvertOptions, {name: value for name, value in vars(args).items() if value is not None})
    output = convert(args.index, args.output, source=args.source, target=args.target, options=options)
    manifest = IndexFolder(output if args.source else find_index(args.index)).manifest
    if args.source:
        cli.say(f"{manifest.documents} documents of {manifest.bytes_per_document} bytes: {output}")
    else:
        cli.say(f"{manifest.documents} documents: {', '.join(map(str, outputs_of(output, options)))}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

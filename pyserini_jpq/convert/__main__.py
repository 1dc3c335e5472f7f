"""`python -m pyserini_jpq.convert`: indexes and encoders from and to the authors' format and plain faiss."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.convert.run import FORMATS, ConvertOptions, convert, outputs_of
from pyserini_jpq.index.opening import open_folder
from pyserini_jpq.options import add_flags, from_flags

_BOTH = ("docid", "pid2offset", "strip_docid_prefix", "encoder", "overwrite")
_IMPORT = ("docid_prefix", "document_encoder", "tokenizer", "initial_index", "output_encoder", "any_metric", "blocks")
_EXPORT = ("initial", "private", "about")


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("convert", "Import an index that others made, or export one for others.")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--from", dest="source", choices=FORMATS, help="import; jpq: the authors' format")
    way.add_argument("--to", dest="target", choices=FORMATS, help="export; hub: Hugging Face")
    parser.add_argument("--index", required=True, help="file, folder, OWNER/NAME to import; index to export")
    parser.add_argument(
        "--output", required=True, type=Path, help="index folder to write; on export, file or OWNER/NAME"
    )
    add_flags(parser, ConvertOptions, _BOTH)
    add_flags(parser.add_argument_group("import"), ConvertOptions, _IMPORT)
    add_flags(parser.add_argument_group("export"), ConvertOptions, _EXPORT)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    given = vars(parser.parse_args(argv))
    source, target = given["source"], given["target"]
    if stray := [name for name in (_EXPORT if source else _IMPORT) if name in given]:
        parser.error(f"--{stray[0].replace('_', '-')} does not go with --{'from' if source else 'to'}")
    if source == "faiss" and (stray := [name for name in ("document_encoder", "initial_index") if name in given]):
        parser.error(f"--{stray[0].replace('_', '-')} goes with --from jpq: an index of plain faiss was not trained")
    options = from_flags(ConvertOptions, given)
    output = convert(given["index"], given["output"], source=source, target=target, options=options)
    manifest = open_folder(output if source else given["index"]).manifest
    if source:
        cli.say(f"{manifest.documents} documents of {manifest.bytes_per_document} bytes: {output}")
    else:
        cli.say(f"{manifest.documents} documents: {', '.join(map(str, outputs_of(output, options)))}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

"""`python -m pyserini_jpq.encode`: a collection becomes a folder of embeddings."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.encode.options import EncodeOptions, EncoderChanges
from pyserini_jpq.options import add_flags, from_flags


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("encode", "Encode a collection; run again after an interruption, it goes on where it stopped.")
    parser.add_argument("--corpus", required=True, help="JSONL or TSV file, a folder of them, or a card")
    parser.add_argument("--encoder", required=True, help="card, folder, or Hugging Face name")
    parser.add_argument("--output", required=True, type=Path, help="folder of embeddings to write")
    add_flags(parser, EncodeOptions)
    parser.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    group = parser.add_argument_group("encoder", "in place of a card, or to change what the card says")
    add_flags(group, EncoderChanges)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    if args.overwrite and "WORLD_SIZE" in os.environ:
        parser.error("--overwrite does not go with several processes; remove --output first")
    # torchrun and accelerate name each process that they start in the environment.
    shard = {"shard_id": os.environ.get("RANK", "0"), "shard_num": os.environ.get("WORLD_SIZE", "1")}
    options = from_flags(EncodeOptions, vars(args), **shard)

    from pyserini_jpq.encode.run import encode

    embeddings = encode(
        args.corpus,
        args.encoder,
        args.output,
        options=options,
        changes=from_flags(EncoderChanges, vars(args)),
        overwrite=args.overwrite,
    )
    if embeddings is not None:
        cli.say(f"{embeddings.documents} documents, {embeddings.dimension} dimensions: {args.output}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

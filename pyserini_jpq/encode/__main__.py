"""`python -m pyserini_jpq.encode`: a collection becomes a folder of embeddings."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyserini_jpq import cards, cli
from pyserini_jpq.cluster import Cluster, ClusterOptions
from pyserini_jpq.encode.options import EncodeOptions, EncoderChanges
from pyserini_jpq.options import add_flags, from_flags


class _ListEncoders(argparse.Action):
    """Prints the cards of encoders, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print name, dimensions, tokens of a query and of a document, and licence, a card a line."""
        for name in cards.card_names("encoders"):
            card = cards.encoder_card(name)
            sizes = f"{card.dimension or '?':>5}  {card.query.max_length:>4} / {card.document.max_length:<5}"
            print(f"{name:<32}{sizes} {card.license or 'not stated'}")
        parser.exit()


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("encode", "Encode a collection; run again after an interruption, it goes on where it stopped.")
    parser.add_argument("--corpus", required=True, help="JSONL or TSV file, a folder of them, or a card")
    parser.add_argument("--encoder", required=True, help="card, folder, or Hugging Face name")
    parser.add_argument("--output", required=True, type=Path, help="folder of embeddings to write")
    parser.add_argument(
        "--list-encoders",
        action=_ListEncoders,
        nargs=0,
        help="print the cards: name, dimensions, tokens of a query / of a document, licence",
    )
    add_flags(parser, EncodeOptions)
    add_flags(parser, ClusterOptions)
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
        cluster=Cluster.of(from_flags(ClusterOptions, vars(args))),
    )
    if embeddings is not None:
        cli.say(f"{embeddings.documents} documents, {embeddings.dimension} dimensions: {args.output}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

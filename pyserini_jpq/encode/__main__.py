"""`python -m pyserini_jpq.encode`: a collection becomes a folder of embeddings."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.encode.source import add_encoder_flags, find_encoder, flag_changes


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser("encode", "Encode a collection; run again after an interruption, it goes on where it stopped.")
    parser.add_argument("--corpus", required=True, help="JSONL or TSV file, a folder of them, or a card")
    parser.add_argument("--encoder", required=True, help="card, folder, or Hugging Face name")
    parser.add_argument("--output", required=True, type=Path, help="folder of embeddings to write")
    parser.add_argument("--batch-size", type=cli.positive_int, default=32, help="documents encoded at once")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, or auto: a GPU if there is one")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="what the encoder computes in; auto is the fastest type of the device that leaves rankings as they are",
    )
    # torchrun and accelerate name each process that they start in the environment.
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    parser.add_argument("--shard-id", type=int, default=rank, help="which part to encode, from 0; by torchrun its rank")
    parser.add_argument(
        "--shard-num",
        type=cli.positive_int,
        default=world,
        help="parts the collection is encoded in; by torchrun all ranks",
    )
    parser.add_argument("--skip-empty", action="store_true", help="leave out documents without text")
    parser.add_argument("--overwrite", action="store_true", help="replace what --output holds")
    add_encoder_flags(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    if not 0 <= args.shard_id < args.shard_num:
        parser.error(f"--shard-id {args.shard_id} is not between 0 and --shard-num {args.shard_num} less one")
    if args.overwrite and "WORLD_SIZE" in os.environ:
        parser.error("--overwrite does not go with several processes; remove --output first")
    encode(args)


def encode(args: argparse.Namespace) -> None:
    """Encode what the flags name."""
    from pyserini_jpq.data.collection import Collection
    from pyserini_jpq.download.collection import find_corpus

    collection = Collection(find_corpus(args.corpus), args.skip_empty)
    source = find_encoder(args.encoder).with_changes(flag_changes(args))
    collection.scan()  # what is wrong with it is told before torch is imported, which takes seconds

    from pyserini_jpq.encode.document import Shard, encode_collection
    from pyserini_jpq.encode.encoder import Encoder
    from pyserini_jpq.encode.precision import resolve_device, resolve_dtype

    device = resolve_device(args.device)
    encoder = Encoder.load(source.card, source.folder).to(device)
    entry = {"name": source.name, "card": source.card.as_dict(), "sha256": encoder.weights_sha256()}
    summary = encode_collection(
        collection,
        encoder,
        entry,
        args.output,
        shard=Shard(args.shard_id, args.shard_num),
        batch_size=args.batch_size,
        dtype=resolve_dtype(args.dtype, device),
        overwrite=args.overwrite,
    )
    left_out = f", {summary.skipped} without text left out" if summary.skipped else ""
    cli.say(f"{summary.documents} documents{left_out}, {encoder.dimension} dimensions: {args.output}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

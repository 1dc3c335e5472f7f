"""`python -m pyserini_jpq.index`: build an index from embeddings, or change an index."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pyserini_jpq import cli
from pyserini_jpq.cluster import Cluster, ClusterOptions
from pyserini_jpq.encode.options import EncodeOptions
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.options import add_flags, from_flags

_OF_A_NEW_INDEX = (
    *("corpus", "encoder", "output", "source", "m", "bits", "sample", "seed", "quantizer", "parts", "shards", "blocks"),
    *("keep_vectors", "overwrite", "ray"),
)


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser(
        "index",
        "Build an OPQ index, or append documents to an index and delete them; run again after an interruption, it goes "
        "on where it stopped.",
    )
    parser.add_argument("--embeddings", type=Path, help="folder that encode wrote")
    parser.add_argument("--texts", metavar="CORPUS", help="keep the documents' texts, of this collection, in the index")
    parser.add_argument("--threads", type=cli.positive_int, default=None, help="most threads to use; all by default")
    parser.add_argument(
        "--any-encoder", action="store_true", help="take embeddings of another encoder than the index's"
    )

    group = parser.add_argument_group("a new index")
    group.add_argument("--output", type=Path, help="index folder to write")
    group.add_argument(
        "--from",
        dest="source",
        metavar="INDEX",
        help="take rotation, centroids and query encoder of this index, as they were trained on other documents",
    )
    add_flags(group, IndexOptions)
    group.add_argument("--corpus", help="with --ray, in place of --embeddings: a collection to encode")
    group.add_argument("--encoder", help="the encoder of --corpus: card, folder, or Hugging Face name")
    add_flags(group, EncodeOptions, ("batch_size", "device", "dtype", "skip_empty"))
    add_flags(group, ClusterOptions)
    group.add_argument("--overwrite", action="store_true", help="replace what --output holds")

    group = parser.add_argument_group("an index that is there")
    group.add_argument("--index", help="index folder or name to change, in place")
    group.add_argument("--append", action="store_true", help="append the documents of --embeddings")
    group.add_argument("--replace", action="store_true", help="replace documents that the index holds already")
    group.add_argument("--delete", nargs="+", default=[], metavar="DOCID", help="documents to delete")
    group.add_argument("--delete-file", type=Path, help="file of docids to delete, one a line")
    group.add_argument(
        "--ivf", type=cli.positive_int, metavar="LISTS", help="keep inverted lists beside it, for `search --ivf`"
    )
    group.add_argument("--add-shard", metavar="INDEX", help="copy an index of the same quantizer into one in shards")
    group.add_argument("--replace-shard", nargs=2, metavar=("SHARD", "INDEX"), help="the same, in place of a shard")
    group.add_argument("--drop-shard", metavar="SHARD", help="remove a shard with its documents")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    new = [name for name in _OF_A_NEW_INDEX if name in vars(args) and vars(args)[name] not in (None, False)]
    new += ["blocks"] if vars(args).get("blocks") is False else []
    flags = ", ".join("--" + {"source": "from", "keep_vectors": "keep-vectors"}.get(name, name) for name in new)
    changes = args.append or args.delete or args.delete_file
    if args.add_shard or args.replace_shard or args.drop_shard:
        shards = [args.add_shard, args.replace_shard, args.drop_shard]
        others = new or changes or args.replace or args.embeddings or args.texts or args.ivf
        if others or not args.index or sum(map(bool, shards)) > 1:
            parser.error("--add-shard, --replace-shard and --drop-shard go one by one with --index, an index in shards")
        return change_shards(args)
    if args.ivf:
        if new or changes or args.replace or args.embeddings or args.texts or not args.index:
            parser.error("--ivf goes with --index alone, the index whose documents are sorted into lists")
        return sort_into_lists(args)
    if args.index and new == ["blocks"] and not (changes or args.replace or args.embeddings or args.texts):
        return keep_blocks(args)
    if args.index and new == ["keep_vectors"] and not (changes or args.replace or args.texts):
        return keep_vectors(args)
    if args.index and args.texts and not (new or changes or args.replace or args.embeddings):
        return keep_texts(args)
    if changes:
        if new:
            parser.error(
                f"{flags} belongs to a new index; --append, --delete and --delete-file change the one at --index"
            )
        if not args.index:
            parser.error("--append, --delete and --delete-file need --index, the index to change")
        if args.append != (args.embeddings is not None):
            parser.error("--append and --embeddings go together where an index is changed")
        return change_documents(args)
    if args.index and new:
        parser.error(f"{flags} belongs to a new index; with --index, --ivf, --blocks or --keep-vectors stands alone")
    if args.index or args.replace:
        parser.error(
            "--index and --replace go with --append, --delete or --delete-file; --index also with --ivf, --blocks, "
            "--keep-vectors or --texts"
        )
    if bool(args.corpus) != bool(args.encoder) or (args.corpus and (args.embeddings or "ray" not in vars(args))):
        parser.error("--corpus and --encoder go together, with --ray and --output, in place of --embeddings")
    if not (args.embeddings or args.corpus) or not args.output:
        parser.error("a new index needs --embeddings and --output")
    if args.source and (trained := [n for n in ("m", "bits", "sample", "seed") if n in vars(args)]):
        parser.error(f"--{trained[0]} does not go with --from: the quantizer is that of the other index")
    return build_on_cluster(args) if args.corpus else build(args)


def build(args: argparse.Namespace) -> None:
    """Build an index."""
    from pyserini_jpq.index.run import build_index

    index = build_index(
        args.embeddings,
        args.output,
        options=from_flags(IndexOptions, vars(args)),
        quantizer_of=args.source,
        texts=args.texts,
        any_encoder=args.any_encoder,
        threads=args.threads,
        overwrite=args.overwrite,
        cluster=Cluster.of(from_flags(ClusterOptions, vars(args))),
    )
    cli.say(f"{index.manifest.documents} documents of {index.manifest.bytes_per_document} bytes: {args.output}")


def build_on_cluster(args: argparse.Namespace) -> None:
    """Encode a collection on a cluster, and build its index."""
    from pyserini_jpq.index.run import encode_index

    index = encode_index(
        args.corpus,
        args.encoder,
        args.output,
        quantizer_of=args.source,
        cluster=Cluster.of(from_flags(ClusterOptions, vars(args))) or Cluster(),
        options=from_flags(IndexOptions, vars(args)),
        encode_options=from_flags(EncodeOptions, vars(args)),
        texts=args.texts,
        any_encoder=args.any_encoder,
        overwrite=args.overwrite,
    )
    cli.say(f"{index.manifest.documents} documents of {index.manifest.bytes_per_document} bytes: {args.output}")


def change_documents(args: argparse.Namespace) -> None:
    """Append, replace and delete documents."""
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.index.folder import read_docids
    from pyserini_jpq.index.opening import open_folder
    from pyserini_jpq.index.run import use_threads
    from pyserini_jpq.index.shards_change import change

    use_threads(args.threads)
    index = open_folder(args.index)
    embeddings = Embeddings(args.embeddings) if args.append else None
    delete = [*args.delete, *(read_docids(args.delete_file) if args.delete_file else [])]
    changed = change(index, embeddings, delete, args.replace, args.any_encoder, args.texts)
    counts = {"appended": changed.appended, "replaced": changed.replaced, "deleted": changed.deleted}
    done = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if changed.dropped:
        cli.warn(f"{', '.join(changed.dropped)} of {index.path} was of the documents before and is gone; make it again")
    cli.say(f"{done}, {changed.documents} documents: {index.path}")


def change_shards(args: argparse.Namespace) -> None:
    """Add, replace or drop a shard."""
    from pyserini_jpq.index.shards_change import add_shard, drop_shard, replace_shard

    if args.add_shard:
        index = add_shard(args.index, args.add_shard)
    elif args.replace_shard:
        index = replace_shard(args.index, *args.replace_shard)
    else:
        index = drop_shard(args.index, args.drop_shard)
    cli.say(f"{index.manifest.documents} documents in {len(index.parts)} shards: {index.path}")


def sort_into_lists(args: argparse.Namespace) -> None:
    """Write inverted lists beside an index."""
    from pyserini_jpq.index.ivf_file import write_ivf
    from pyserini_jpq.index.opening import open_folder
    from pyserini_jpq.index.run import use_threads
    from pyserini_jpq.index.shards_ivf import write_lists

    use_threads(args.threads)
    index = open_folder(args.index)
    write_ivf(index, args.ivf) if index.parts == (index,) else write_lists(index, args.ivf)
    cli.say(f"{index.manifest.documents} documents in {args.ivf} lists: {index.path}")


def keep_blocks(args: argparse.Namespace) -> None:
    """Write or remove the blocks of an index."""
    from pyserini_jpq.index.blocks import keep_blocks
    from pyserini_jpq.index.opening import open_folder

    index = open_folder(args.index, whole=False)
    for part in index.parts:
        keep_blocks(part, args.blocks)
    cli.say(f"{index.manifest.documents} documents {'with' if args.blocks else 'without'} blocks: {index.path}")


def keep_vectors(args: argparse.Namespace) -> None:
    """Keep the vectors of an index, from its embeddings."""
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.index.opening import open_folder
    from pyserini_jpq.index.vectors import keep_vectors

    index = open_folder(args.index)
    keep_vectors(index, args.keep_vectors, Embeddings(args.embeddings) if args.embeddings else None)
    cli.say(f"{index.manifest.documents} documents with vectors, {args.keep_vectors}: {index.path}")


def keep_texts(args: argparse.Namespace) -> None:
    """Keep the texts of a collection in an index."""
    from pyserini_jpq.index.opening import open_folder
    from pyserini_jpq.index.texts import keep_texts

    index = open_folder(args.index)
    for part in index.parts:
        keep_texts(part, args.texts)
    cli.say(f"{index.manifest.documents} documents with texts: {index.path}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

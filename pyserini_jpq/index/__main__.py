"""`python -m pyserini_jpq.index`: a folder of embeddings becomes an index, or is added to one."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyserini_jpq import cli

M, BITS, SAMPLE, SEED, BLOCKS = 96, 8, 65536, 42, "yes"


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = cli.parser(
        "index",
        "Build an OPQ index, or append documents to an index and delete them; run again after an interruption, it goes "
        "on where it stopped.",
    )
    parser.add_argument("--embeddings", type=Path, help="folder that encode wrote")
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
    keep: dict[str, Any] = {"default": argparse.SUPPRESS}
    group.add_argument("--m", type=cli.positive_int, help=f"subspaces: a divisor of the dimensions ({M})", **keep)
    group.add_argument("--bits", type=int, choices=(4, 8), help=f"bits of a code in one subspace ({BITS})", **keep)
    group.add_argument(
        "--sample",
        type=cli.positive_int,
        help=f"documents that rotation and centroids are trained on ({SAMPLE})",
        **keep,
    )
    group.add_argument("--seed", type=cli.seed, help=f"of the sample and of the k-means ({SEED})", **keep)
    group.add_argument(
        "--blocks",
        choices=("yes", "no"),
        help=f"keep codes once more, for a faster search ({BLOCKS}); also with --index alone",
        **keep,
    )
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
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = define_flags()
    args = parser.parse_args(argv)
    names = ("output", "source", "m", "bits", "sample", "seed", "blocks", "overwrite")
    new = [name for name in names if vars(args).get(name)]
    flags = ", ".join("--" + {"source": "from"}.get(name, name) for name in new)
    if args.ivf:
        if new or args.append or args.replace or args.delete or args.delete_file or args.embeddings or not args.index:
            parser.error("--ivf goes with --index alone, the index whose documents are sorted into lists")
        sort_into_lists(args)
        return
    changes = args.append or args.delete or args.delete_file
    if args.index and new == ["blocks"] and not (changes or args.replace or args.embeddings):
        keep(args)
        return
    if changes:
        if new:
            parser.error(
                f"{flags} belongs to a new index; --append, --delete and --delete-file change the one at --index"
            )
        if not args.index:
            parser.error("--append, --delete and --delete-file need --index, the index to change")
        if args.append != (args.embeddings is not None):
            parser.error("--append and --embeddings go together where an index is changed")
        change(args)
        return
    if args.index and new:
        parser.error(f"{flags} belongs to a new index; with --index, --ivf or --blocks stands alone")
    if args.index or args.replace:
        parser.error(
            "--index and --replace go with --append, --delete or --delete-file; --index also with --ivf or --blocks"
        )
    if not args.embeddings or not args.output:
        parser.error("a new index needs --embeddings and --output")
    if args.source and (trained := [n for n in ("m", "bits", "sample", "seed") if n in vars(args)]):
        parser.error(f"--{trained[0]} does not go with --from: the quantizer is that of the other index")
    build(args)


def build(args: argparse.Namespace) -> None:
    """Build what the flags name."""
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.index.build import IndexSettings, build_from, build_index
    from pyserini_jpq.index.folder import IndexFolder, find_index

    _use_threads(args.threads)
    embeddings = Embeddings(args.embeddings)
    given = vars(args)
    blocks = given.get("blocks", BLOCKS) == "yes"
    if args.source:
        source = IndexFolder(find_index(args.source))
        build_from(source, embeddings, args.output, args.overwrite, args.any_encoder, blocks)
    else:
        settings = IndexSettings(
            given.get("m", M), given.get("bits", BITS), given.get("sample", SAMPLE), given.get("seed", SEED)
        )
        build_index(embeddings, settings, args.output, args.overwrite, blocks)
    bytes_each = IndexFolder(args.output).manifest.bytes_per_document
    cli.say(f"{embeddings.documents} documents of {bytes_each} bytes: {args.output}")


def change(args: argparse.Namespace) -> None:
    """Append and delete what the flags name."""
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.index.change import change_index
    from pyserini_jpq.index.folder import IndexFolder, find_index, read_docids

    _use_threads(args.threads)
    index = IndexFolder(find_index(args.index))
    embeddings = Embeddings(args.embeddings) if args.append else None
    delete = [*args.delete, *(read_docids(args.delete_file) if args.delete_file else [])]
    changed = change_index(index, embeddings, delete, args.replace, args.any_encoder)
    counts = {"appended": changed.appended, "replaced": changed.replaced, "deleted": changed.deleted}
    done = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    cli.say(f"{done}, {changed.documents} documents: {index.path}")


def sort_into_lists(args: argparse.Namespace) -> None:
    """Keep inverted lists beside the index that the flags name."""
    from pyserini_jpq.index.folder import IndexFolder, find_index
    from pyserini_jpq.index.ivf_file import write_ivf

    _use_threads(args.threads)
    index = IndexFolder(find_index(args.index))
    file = write_ivf(index, args.ivf)
    cli.say(f"{index.manifest.documents} documents in {args.ivf} lists: {file}")


def keep(args: argparse.Namespace) -> None:
    """Write or remove the file of blocks of the index that the flags name."""
    from pyserini_jpq.index.blocks import keep_blocks
    from pyserini_jpq.index.folder import IndexFolder, find_index

    index = IndexFolder(find_index(args.index), whole=False)
    keep_blocks(index, args.blocks == "yes")
    cli.say(f"{index.manifest.documents} documents {'with' if index.blocks else 'without'} blocks: {index.path}")


def _use_threads(threads: int | None) -> None:
    import faiss

    if threads:
        faiss.omp_set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(cli.run(main))

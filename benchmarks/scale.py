"""`python -m benchmarks.scale`: an index of the size of MS MARCO v2.1, in one folder and in shards, on one machine.

Codes are random around the centroids of an index. What is written, opened and searched is what users have; only the
embeddings, 1,536 bytes a document at 384 dimensions, are left out.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared
from benchmarks.data import random_quantizer
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import measured, resident_bytes, timed
from pyserini_jpq.errors import JPQError
from pyserini_jpq.files import save_array
from pyserini_jpq.quantizer import Codes, Floats, ProductQuantizer

_EXTRA = 2 * 8 + 2 * 12  # bytes of a document: its row in the lists, docids, and both again while they are written
_ADDED = 8  # the shard that is added holds one document for so many
_LISTS_MEMORY = 48  # bytes of a document of the largest shard while its lists are made, with 24 of codes


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("scale", "Build, open, search and extend a large index, in one folder and in shards.")
    parser.add_argument("--documents", type=cli.positive_int, default=113_520_750, help="documents of random codes")
    parser.add_argument("--index", help="index whose rotation and centroids are taken; random ones by default")
    parser.add_argument("--m", type=cli.positive_int, default=24, help="bytes a document, without --index")
    parser.add_argument("--dimension", type=cli.positive_int, default=384, help="dimensions, without --index")
    parser.add_argument("--shards", type=int, nargs="+", default=[0, 1, 8], help="layouts; 0 is a plain index")
    parser.add_argument("--lists", type=int, default=4096, help="inverted lists; 0 for none")
    parser.add_argument("--nprobe", type=cli.positive_int, nargs="+", default=[16, 64], help="lists of a query")
    parser.add_argument("--batch", type=cli.positive_int, default=64, help="queries of a batch")
    parser.add_argument("--threads", type=cli.positive_int, nargs="+", default=[1, 2], help="threads of a search")
    parser.add_argument("--rounds", type=cli.positive_int, default=10, help="searches of each type")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where a temporary folder is made")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    quantizer = _quantizer(args)
    _check_room(args, quantizer)
    queries = np.random.default_rng(1).normal(size=(args.batch, quantizer.dimension)).astype(np.float32)
    results = []
    for shards in args.shards:
        with tempfile.TemporaryDirectory(dir=args.folder) as place:
            results.append(measure(Path(place) / "index", quantizer, shards, queries, args))
    if any(found != results[0] for found in results):
        raise JPQError("the layouts do not find the same documents with the same scores")
    tell("all layouts", "same hits and scores")


def measure(folder: Path, quantizer: ProductQuantizer, shards: int, queries: Floats, args: Any) -> list[Any]:
    """Build, open, search and extend an index in so many shards; print figures, return hits."""
    from pyserini_jpq.index.opening import open_folder

    def say(what: str, figure: str) -> None:
        tell(f"{shards} shards: {what}", figure)

    say("build", f"{timed(lambda: build(folder, quantizer, args.documents, shards), 'wall'):.0f} s")
    found = search(folder, queries, args, say, None)
    if args.lists:
        say(f"{args.lists} lists", f"{timed(lambda: make_lists(folder, args.lists), 'wall'):.0f} s")
        for nprobe in args.nprobe:
            found += search(folder, queries, args, say, nprobe)
    say("disk", f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1e9:.2f} GB")
    if shards:
        extend(folder, quantizer, args.documents, say)
        say("documents then", str(open_folder(folder).manifest.documents))
    return found


def build(folder: Path, quantizer: ProductQuantizer, documents: int, shards: int) -> None:
    """Write an index of random codes, in so many shards; 0 for a plain one."""
    from pyserini_jpq.index.build_shards import rows_of
    from pyserini_jpq.index.folder import IndexFolder
    from pyserini_jpq.index.shards_file import Shard, ShardList, name_of, together

    if not shards:
        return write_part(folder, quantizer, range(documents))
    for number in range(shards):
        write_part(folder / name_of(number), quantizer, rows_of(number, shards, documents))
    manifests = [IndexFolder(folder / name_of(number)).manifest for number in range(shards)]
    entries = tuple(Shard.of(name_of(number), manifest) for number, manifest in enumerate(manifests))
    ShardList(together(manifests[0], entries), entries).write(folder)


def write_part(folder: Path, quantizer: ProductQuantizer, rows: range) -> None:
    """Write a plain index of the random codes of some rows."""
    from pyserini_jpq.index.blocks import write_blocks
    from pyserini_jpq.index.encoders import UNKNOWN
    from pyserini_jpq.index.faiss_format import stored_codes
    from pyserini_jpq.index.faiss_io import read_faiss
    from pyserini_jpq.index.manifest import BLOCKS, INDEX, INITIAL_CENTROIDS, Manifest, write_manifest
    from pyserini_jpq.index.writing import write_codes, write_docids

    folder.mkdir(parents=True)
    write_codes(folder, quantizer, len(rows), random_codes(rows, quantizer.m), "writing codes")
    write_docids(folder, (f"d{row}" for row in rows))
    save_array(folder / INITIAL_CENTROIDS, quantizer.centroids)
    written = read_faiss(folder / INDEX, mapped=True)  # the codes are a view into it
    write_blocks(folder / BLOCKS, stored_codes(written, folder))
    shape = quantizer.dimension, quantizer.m, quantizer.bits, quantizer.bytes_per_document
    write_manifest(folder, Manifest(len(rows), *shape, UNKNOWN, UNKNOWN))


def random_codes(rows: range, m: int) -> Iterator[tuple[int, Callable[[], Codes]]]:
    """Yield random codes of some rows, block by block; those of a row are the same in any layout."""
    from pyserini_jpq.index.writing import BLOCK

    def codes(number: int, first: int, end: int) -> Codes:
        return np.random.default_rng([7, number]).integers(0, 256, (BLOCK, m), dtype=np.uint8)[first:end]

    for number in range(rows.start // BLOCK, -(-rows.stop // BLOCK)):
        first, end = max(0, rows.start - number * BLOCK), min(BLOCK, rows.stop - number * BLOCK)
        yield end - first, partial(codes, number, first, end)


def search(folder: Path, queries: Floats, args: Any, say: Callable[[str, str], None], nprobe: int | None) -> list[Any]:
    """Open an index, search it by one query and by a batch, and print figures; return hits."""
    from pyserini_jpq.api import Index

    how = "" if nprobe is None else f", {nprobe} of {args.lists} lists"
    before = resident_bytes() or 0
    opened: list[Index] = []
    say(f"open{how}", f"{timed(lambda: opened.append(Index(folder, nprobe=nprobe)), 'wall'):.2f} s")
    index = opened[0]
    say(f"resident after opening{how}", f"{((resident_bytes() or 0) - before) / 1e6:.0f} MB")
    say(f"first query{how}", f"{1e3 * timed(lambda: index.search(queries[0], 10), 'wall'):.1f} ms")
    for threads in args.threads:
        one = measured(lambda i, t=threads: index.search(queries[i % len(queries)], 10, threads=t), args.rounds)["wall"]
        say(f"one query, k=10, {threads} threads{how}", f"{one['median_ms']:.1f} ms (p99 {one['p99_ms']:.1f})")
        many = measured(lambda _, t=threads: index.batch_search(queries, 100, threads=t), max(1, args.rounds // 5))
        a_query = many["wall"]["median_ms"] / len(queries)
        say(f"{len(queries)} queries at once, k=100, {threads} threads{how}", f"{a_query:.1f} ms a query")
    return [[(hit.docid, hit.score) for hit in hits] for hits in index.batch_search(queries[:4], 100)]


def make_lists(folder: Path, lists: int) -> None:
    """Make inverted lists as `python -m pyserini_jpq.index --ivf` does."""
    from pyserini_jpq.index.__main__ import main as index

    index(["--index", str(folder), "--ivf", str(lists)])


def extend(folder: Path, quantizer: ProductQuantizer, documents: int, say: Callable[[str, str], None]) -> None:
    """Add a shard of new documents."""
    from pyserini_jpq.index.shards_change import add_shard

    new = folder.with_name("new")
    rows = range(documents, documents + max(1, documents // _ADDED))
    say(f"build of {len(rows)} documents", f"{timed(lambda: write_part(new, quantizer, rows), 'wall'):.0f} s")
    say("add them as a shard", f"{timed(lambda: add_shard(folder, new), 'wall'):.0f} s")
    shutil.rmtree(new)


def tell(what: str, figure: str) -> None:
    """Print a figure."""
    print(f"{what:<66} {figure:>22}", flush=True)


def _quantizer(args: argparse.Namespace) -> ProductQuantizer:
    from pyserini_jpq.index.faiss_format import quantizer_of
    from pyserini_jpq.index.opening import open_folder

    if args.index is None:
        return random_quantizer(args.dimension, args.m, 8, np.random.default_rng(0))
    part = open_folder(args.index).parts[0]
    return quantizer_of(part.read(mapped=True), part.path)


def _check_room(args: argparse.Namespace, quantizer: ProductQuantizer) -> None:
    """Raise JPQError if disk or memory is too small for one layout at a time."""
    size = quantizer.bytes_per_document
    disk = args.documents * (4 * size + _EXTRA)  # `index`, `blocks`, `ivf`, and what is written anew
    memory = 1e9 + (args.documents * (size + _LISTS_MEMORY) if args.lists and min(args.shards) < 2 else 0)
    free = shutil.disk_usage(args.folder).free
    available = _available_memory()
    tell("disk needed, free", f"{disk / 1e9:.0f}, {free / 1e9:.0f} GB")
    tell("memory needed, available", f"{memory / 1e9:.0f}, {available / 1e9:.0f} GB")
    if disk > free or memory > available:
        raise JPQError("there is too little room; give fewer --documents, --lists 0, or another --folder")


def _available_memory() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * int(line.split()[1])
    return float("inf")


if __name__ == "__main__":
    sys.exit(cli.run(main))

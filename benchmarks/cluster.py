"""`python -m benchmarks.cluster`: a Ray cluster of some nodes on this machine, which loses actors and a node.

It indexes a collection of random words on the cluster and in one process and compares the files, times queries beside
those of the slowest shard, and prints the memory of the driver for collections of several sizes.
"""

import contextlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared
from pyserini_jpq import cli
from pyserini_jpq.cluster import Cluster
from pyserini_jpq.compare.timer import measured, timed
from pyserini_jpq.errors import JPQError

_WORDS = [f"{a}{b}" for a in ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti") for b in ("do", "fa", "gi", "ho", "ju")]
_FILES = ("index", "docid", "blocks", "initial_centroids.npy")
_DRIVER = """
import resource, sys
from pyserini_jpq import cli
from pyserini_jpq.index.__main__ import main
status = cli.run(main, sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("cluster", "Index and search on a Ray cluster of some nodes on this machine.")
    parser.add_argument("--encoder", required=True, help="encoder of the documents: card, folder, or name")
    parser.add_argument("--documents", type=cli.positive_int, default=100_000, help="documents of random words")
    parser.add_argument("--nodes", type=cli.positive_int, default=3, help="nodes, of one core each")
    parser.add_argument("--shards", type=cli.positive_int, default=3, help="shards of the index, an actor for each")
    parser.add_argument("--m", type=cli.positive_int, default=8, help="bytes a document")
    parser.add_argument("--window", type=cli.positive_int, default=16384, help="documents of a piece")
    parser.add_argument("--memory", type=cli.positive_int, nargs="*", default=[], help="sizes to measure memory for")
    parser.add_argument("--rounds", type=cli.positive_int, default=200, help="queries timed")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where a temporary folder is made")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    from pyserini_jpq.encode import document

    document.WINDOW = args.window
    with tempfile.TemporaryDirectory(dir=args.folder) as place, nodes(args.nodes) as (address, remove):
        folder = Path(place)
        for documents in args.memory:
            tell(
                f"{documents} documents: memory of the driver", f"{driver_memory(folder, documents, args, address)} MB"
            )
        write_corpus(folder / "c.tsv", args.documents)
        compare(folder, args, remove)
        time_queries(folder / "many", args)


@contextlib.contextmanager
def nodes(count: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Start nodes; yield their address and a function that removes one."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    size = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    started = Nodes(True, head_node_args=size)
    others = [started.add_node(**size) for _ in range(count - 1)]
    ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield started.address, lambda: started.remove_node(others.pop())
    finally:
        ray.shutdown()
        started.shutdown()


class Losing(Cluster):
    """A cluster whose actors can be killed."""

    def _start(self, worker: Any, arguments: Any, actors: list[Any]) -> Any:
        self.started = actors
        return super()._start(worker, arguments, actors)

    def losing(self, pieces: Iterable[Any], number: int, remove: Callable[[], None]) -> Iterator[Any]:
        """Yield pieces; after a quarter and half of them an actor is lost, after three quarters a node."""
        import ray

        for i, piece in enumerate(pieces):
            if i in (number // 4, number // 2):
                ray.kill(self.started[int(i == number // 2)])
            if i == 3 * number // 4:
                remove()
            yield piece


def compare(folder: Path, args: Any, remove: Callable[[], None]) -> None:
    """Index in one process and on the cluster, which loses two actors and a node; raise JPQError if files differ."""
    from pyserini_jpq.encode import pieces
    from pyserini_jpq.encode.options import EncodeOptions
    from pyserini_jpq.encode.run import encode
    from pyserini_jpq.index.options import IndexOptions
    from pyserini_jpq.index.run import build_index, encode_index

    corpus, encoding = folder / "c.tsv", EncodeOptions(device="cpu", dtype="float32")
    options, pool = IndexOptions(m=args.m, shards=args.shards), Losing("auto", actors=args.nodes)
    given, number = pieces.pieces_of, -(-args.documents // args.window)
    pieces.pieces_of = lambda *of: pool.losing(given(*of), number, remove)
    how = {"cluster": pool, "options": options, "encode_options": encoding}
    took = timed(lambda: encode_index(corpus, args.encoder, folder / "many", **how), "wall")
    tell(f"{args.documents} documents on {args.nodes} nodes", f"{took:.0f} s")
    tell("actors lost, pieces begun, and begun again", f"{pool.lost}, {number}, {pool.again}")

    def here() -> None:
        rows = encode(corpus, args.encoder, folder / "e", options=encoding)
        build_index(rows, folder / "one", options=options)

    tell("in one process", f"{timed(here, 'wall'):.0f} s")
    files = [file.relative_to(folder / "one") for file in (folder / "one").rglob("*") if file.name in _FILES]
    if wrong := [x for x in files if (folder / "one" / x).read_bytes() != (folder / "many" / x).read_bytes()]:
        raise JPQError(f"{wrong[0]} differs")
    tell("files of both", f"{len(files)}, equal")


def time_queries(folder: Path, args: Any) -> None:
    """Time queries through Ray, and those of each shard alone in this process."""
    from pyserini_jpq.search.engines.cluster import ClusterEngine
    from pyserini_jpq.search.engines.shards import ShardsEngine
    from pyserini_jpq.search.open import open_index

    here = open_index(folder)
    there = ClusterEngine(Cluster("auto", actors=args.shards, resources={"num_cpus": 0.1}), here)
    served = by_ray_serve(here)
    for size, k in ((1, 10), (1, 1000), (64, 100)):
        queries = np.random.default_rng(0).normal(size=(size, here.dimension)).astype(np.float32)
        took = median(partial(there.search, queries, k), args.rounds)
        alone: list[Callable[[], Any]] = [partial(here.search, queries, k)]
        if isinstance(here, ShardsEngine):
            alone = [partial(here.search_some, queries, k, 1, range(i, i + 1)) for i in range(here.shards)]
        slowest = max(median(search, args.rounds) for search in alone)
        tell(f"{size} queries, k={k}: by Ray, slowest shard alone", f"{took:.2f}, {slowest:.2f} ms")
        if served is not None:
            tell(f"{size} queries, k={k}: by Ray Serve", f"{median(partial(served, queries, k), args.rounds):.2f} ms")


def by_ray_serve(engine: Any) -> Callable[[Any, int], Any] | None:
    """Return a search by deployments of Ray Serve, one for each shard; None where it is not installed (ray[serve])."""
    from pyserini_jpq.quantizer import best_of_blocks
    from pyserini_jpq.search.engines.cluster import ShardSearcher

    try:
        from ray import serve
    except ImportError:
        return None
    serve.start(proxy_location="Disabled")
    deployment = serve.deployment(ShardSearcher, ray_actor_options={"num_cpus": 0.1})
    shards = [
        serve.run(deployment.bind(engine.reopen, range(i, i + 1)), name=f"shard {i}", route_prefix=None)
        for i in range(engine.shards)
    ]

    def search(queries: Any, k: int) -> Any:
        asked = [shard.do.remote((queries, k, 1)) for shard in shards]
        return best_of_blocks([answer.result() for answer in asked], len(queries), k)

    return search


def median(search: Callable[[], Any], rounds: int) -> float:
    """Return the median time of a search, in milliseconds."""
    return measured(lambda _: search(), rounds, warm_up=10)["wall"]["median_ms"]


def driver_memory(folder: Path, documents: int, args: Any, address: str) -> int:
    """Return the peak memory of a process that indexes so many documents on the cluster, in MB."""
    corpus, output = folder / f"{documents}.tsv", folder / f"x-{documents}"
    write_corpus(corpus, documents)
    words = ["--corpus", corpus, "--encoder", args.encoder, "--output", output, "--m", args.m, "--ray", address]
    words += ["--ray-actors", args.nodes, "--device", "cpu", "--dtype", "float32"]
    done = subprocess.run([sys.executable, "-c", _DRIVER, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise JPQError(done.stderr.strip().splitlines()[-1])
    return int(done.stdout.split()[-1]) >> 10


def write_corpus(path: Path, documents: int) -> None:
    """Write documents of 4 to 12 random words."""
    chance = random.Random(7)
    with open(path, "w", encoding="utf-8") as file:
        for i in range(documents):
            file.write(f"d{i}\t{' '.join(chance.choices(_WORDS, k=chance.randint(4, 12)))}\n")


def tell(what: str, figure: str) -> None:
    """Print a figure."""
    print(f"{what:<66} {figure:>22}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))

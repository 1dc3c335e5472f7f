"""`python -m benchmarks.serving`: our server beside Pyserini's with the stock `FaissSearcher`, on the same index."""

import contextlib
import itertools
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import shared
from benchmarks.data import Data, index_data
from benchmarks.load import Load, first_answer, load
from benchmarks.searchers import make_folder
from benchmarks.stock_server import stock_command
from pyserini_jpq import cli
from pyserini_jpq.data.topics import read_topics
from pyserini_jpq.errors import JPQError
from pyserini_jpq.index.encoders import query_encoder_source
from pyserini_jpq.index.folder import IndexFolder, find_index
from pyserini_jpq.index.texts import keep_texts

NAME = "bench"


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("serving", "Load our server and Pyserini's in turn, on loopback, and print both.")
    parser.add_argument("--index", required=True, help="trained index, whose encoder, centroids and biases are taken")
    parser.add_argument("--topics", required=True, help="queries; each is made another one by a number at its end")
    parser.add_argument("--documents", type=cli.positive_int, default=1_000_000, help="documents of random codes")
    parser.add_argument("--clients", type=cli.positive_int, nargs="+", default=[1, 8, 32], help="clients at once")
    parser.add_argument("--seconds", type=cli.positive_float, default=20.0, help="of each measurement")
    parser.add_argument("--rounds", type=cli.positive_int, default=3, help="measurements of each, in turn")
    parser.add_argument("--hits", type=cli.positive_int, default=10, help="hits of a query")
    parser.add_argument("--only", choices=("ours", "stock"), help="one of the two servers, as for a long load")
    return parser


@dataclass
class Server:
    """A server that runs, and the port at which it answers."""

    process: "subprocess.Popen[str]"
    port: int

    def megabytes(self) -> float:
        """Return its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else 0.0

    def load(self, clients: int, seconds: float, queries: Iterator[str], hits: int) -> Load:
        """Let clients ask one query after the other."""
        return load(self.port, NAME, clients, seconds, queries, hits, self.megabytes)


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    queries = (f"{text} {i}" for i, text in enumerate(itertools.cycle(read_topics(args.topics).values())))
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder, encoder = make_index(args, Path(place))
        commands = {"ours": our_command(folder), "stock": stock_command(folder, encoder, Path(place), NAME)}
        chosen = {name: command for name, command in commands.items() if args.only in (None, name)}
        servers = {name: stack.enter_context(started(command)) for name, command in chosen.items()}
        for server in servers.values():
            server.load(1, 2.0, queries, args.hits)
        header = (
            "server",
            "clients",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "refused",
            "failed",
            "MB first",
            "MB half",
            "MB last",
            "MB most",
        )
        table = shared.Printed(*header)
        for clients in args.clients:
            rounds = {name: [] for name in servers}  # type: dict[str, list[Load]]
            for _ in range(args.rounds):
                for name, server in servers.items():
                    rounds[name].append(server.load(clients, args.seconds, queries, args.hits))
            for name, loads in rounds.items():
                table.add(name, clients, *figures(loads))
            if len(rounds) == 2:
                ours, stock = ([len(one.seconds) / one.wall for one in rounds[name]] for name in ("ours", "stock"))
                table.add("ratio", clients, f"{np.median(np.array(ours) / stock):.2f}")


def make_index(args: object, place: Path) -> tuple[Path, Path]:
    """Write an index of random codes with the centroids and encoder of another, and a text for every document."""
    name, topics, documents = (getattr(args, field) for field in ("index", "topics", "documents"))
    encoder = query_encoder_source(IndexFolder(find_index(name))).folder
    if encoder is None:
        raise JPQError(f"{name} has no query encoder in a folder; give a trained index")
    data = index_data(name, topics)
    codes = np.random.default_rng(0).integers(0, 256, (documents, data.quantizer.m), dtype=np.uint8)
    folder = make_folder(Data(data.quantizer, codes, data.queries), place, str(encoder))
    corpus = place / "corpus" / "documents.jsonl"
    corpus.parent.mkdir()
    with open(corpus, "w") as file:
        for row in range(documents):
            file.write(json.dumps({"id": str(row), "contents": f"document {row} " + "of some words " * 20}) + "\n")
    keep_texts(IndexFolder(folder), corpus)
    return folder, Path(encoder)


def our_command(folder: Path) -> list[str]:
    """Return the command of our server."""
    return [sys.executable, "-m", "pyserini_jpq.serve", f"{NAME}={folder}", "--port", "{port}"]


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator[Server]:
    """Start a server and wait until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([word.replace("{port}", str(port)) for word in command], text=True)
    server = Server(process, port)
    try:
        while True:
            if process.poll() is not None:
                raise JPQError(f"{' '.join(command)} ended with status {process.returncode}")
            answer = first_answer(port, NAME)
            if answer is not None:
                if answer[0] != 200:
                    raise JPQError(f"{' '.join(command)} answers {answer[0]}: {answer[1][:300]!r}")
                break
            time.sleep(0.5)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def figures(loads: Sequence[Load]) -> list[str]:
    """Return the medians of several loads, and memory over all of them."""
    rate, p50, p99 = (
        np.median(values)
        for values in zip(
            *((len(one.seconds) / one.wall, *np.percentile(one.seconds, [50, 99])) for one in loads), strict=True
        )
    )
    memory = [value for one in loads for value in one.megabytes]
    refused, failed = sum(one.refused for one in loads), sum(one.failed for one in loads)
    return [
        *(f"{rate:.1f}", f"{1e3 * p50:.1f}", f"{1e3 * p99:.1f}", str(refused), str(failed)),
        *(f"{value:.0f}" for value in (memory[0], memory[len(memory) // 2], memory[-1], max(memory))),
    ]


if __name__ == "__main__":
    sys.exit(cli.run(main))

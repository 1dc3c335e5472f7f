"""The options of the server: fields of one dataclass, which make the flags of `python -m pyserini_jpq.serve`."""

import os
from dataclasses import dataclass
from pathlib import Path

from pyserini_jpq.cli import positive_float, positive_int
from pyserini_jpq.options import Options, option


@dataclass(frozen=True)
class IndexOptions(Options):
    """How indexes are opened and searched, and the limits of one request."""

    device: str = option("cpu", "of encoder and search: cpu, cuda, cuda:1, auto")
    encoder_backend: str = option(
        "torch",
        "what computes the query encoder on a CPU",
        choices=("torch", "bfloat16", "onnx", "onnx-int8"),
    )
    nprobe: int | None = option(None, "inverted lists of a query, where the index has lists", positive_int, metavar="P")
    threads: int = option(os.cpu_count() or 1, "most threads of a search", positive_int)
    batch: int = option(64, "most queries that are searched at once", positive_int)
    waiting: int = option(256, "most queries that wait; what comes then is told to come again", positive_int)
    max_hits: int = option(1000, "most hits of a query", positive_int)
    max_query: int = option(4096, "most characters of a query", positive_int)
    seconds: float = option(30.0, "longest time to answer", positive_float)


@dataclass(frozen=True)
class ServerOptions(Options):
    """Where the server listens, and whom it answers."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 lets other machines in")
    port: int = option(8000, "port to listen on; 0 takes a free one", int)
    names: str | None = option(None, "further names by which it may be asked (the Host of a proxy), comma-separated")
    api_keys: Path | None = option(None, "file of keys, one a line; /v1 then answers only requests with one", Path)
    max_body: int = option(1 << 20, "most bytes of a request's body", positive_int)
    connections: int = option(512, "most connections at once", positive_int)

"""`python -m benchmarks.first_hit`: from `import pyserini_jpq` to the first hit, and where the time goes."""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import shared
from pyserini_jpq import cli
from pyserini_jpq.index.folder import find_index

_CODE = """
import json, sys, time
started = time.perf_counter()
marks = {}
def mark(what):
    global started
    now = time.perf_counter()
    marks[what] = 1e3 * (now - started)
    started = now
import pyserini_jpq as jpq
mark("import pyserini_jpq")
index = jpq.Index(sys.argv[1])
mark("open the index (imports faiss)")
import torch, transformers
mark("import torch and transformers")
index.encode_queries([sys.argv[2]])
mark("load the encoder, encode a query")
hits = index.search(sys.argv[2])
mark("the next query")
assert hits and not {"pyserini", "jnius"} & set(sys.modules)
print(json.dumps(marks))
"""


def main(argv: Sequence[str]) -> None:
    """Print the median milliseconds of each part, in processes of their own."""
    parser = shared.parser("first_hit", "Time a process from its import of pyserini_jpq to its first hit.")
    parser.add_argument("--index", required=True, help="index folder or name")
    parser.add_argument("--query", default="what is product quantization", help="text to search for")
    parser.add_argument("--times", type=cli.positive_int, default=5, help="processes that are started")
    args = parser.parse_args(argv)
    index: Path = find_index(args.index)
    command = [sys.executable, "-c", _CODE, str(index), args.query]
    outputs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(args.times)]
    runs = [json.loads(output.splitlines()[-1]) for output in outputs]
    for what in runs[0]:
        print(f"{statistics.median(run[what] for run in runs):8.0f} ms  {what}")
    print(f"{statistics.median(sum(run.values()) for run in runs):8.0f} ms  in all")


if __name__ == "__main__":
    sys.exit(cli.run(main))

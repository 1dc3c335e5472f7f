"""`python -m benchmarks.threads`: k-means and an encoder by threads that spin or sleep while they wait.

Each figure is of a process of its own, since OpenMP reads `OMP_WAIT_POLICY` once, when it is loaded. The commands set
it to PASSIVE where nobody has; "spin" is what OpenMP does by default.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks import shared
from pyserini_jpq import cli

VARIABLE = "OMP_WAIT_POLICY"
POLICIES = {"spin": None, "sleep": "PASSIVE"}

# Of the size of an encoder and of the training of a quantizer on a small collection.
_CHILD = """
import json, sys, time
import numpy as np
import faiss, torch

documents, rounds = map(int, sys.argv[1:])
x = np.random.default_rng(0).normal(size=(documents, 384)).astype(np.float32)
layer = torch.nn.TransformerEncoderLayer(384, 12, 1536, batch_first=True).eval()
texts = torch.randn(32, 64, 384)

def kmeans():
    quantizer = faiss.ProductQuantizer(384, 24, 8)
    quantizer.cp.niter, quantizer.cp.min_points_per_centroid = 10, 1
    quantizer.train(x)

def encode():
    with torch.inference_mode():
        for _ in range(10):
            layer(texts)

seconds = {}
for work in (kmeans, encode):
    work()
    started = time.perf_counter()
    for _ in range(rounds):
        work()
    seconds[work.__name__] = (time.perf_counter() - started) / rounds
print(json.dumps(seconds))
"""


def main(argv: Sequence[str]) -> None:
    """Run the benchmark and print a table."""
    parser = shared.parser("threads", "Time k-means and an encoder by threads that spin or sleep while they wait.")
    parser.add_argument("--documents", type=cli.positive_int, default=20_000, help="vectors that k-means is given")
    parser.add_argument("--rounds", type=cli.positive_int, default=3, help="times of each work in a process")
    parser.add_argument("--repeat", type=cli.positive_int, default=3, help="processes of each kind; the median counts")
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1, help="loops beside it on the busy machine")
    args = parser.parse_args(argv)
    table = shared.Printed("machine", "threads", "k-means s", "encode s")
    for machine, loops in (("quiet", 0), ("busy", args.busy)):
        with busy(loops):
            # Turn by turn, so that what disturbs the machine disturbs both.
            found = [{p: seconds(p, args.documents, args.rounds) for p in POLICIES} for _ in range(args.repeat)]
        for policy in POLICIES:
            kmeans, encode = (statistics.median(run[policy][work] for run in found) for work in ("kmeans", "encode"))
            table.add(machine, policy, f"{kmeans:.2f}", f"{encode:.2f}")


def seconds(policy: str, documents: int, rounds: int) -> dict[str, float]:
    """Return how long each work takes in a process with a policy of `POLICIES`."""
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    if value := POLICIES[policy]:
        environment[VARIABLE] = value
    command = [sys.executable, "-c", _CHILD, str(documents), str(rounds)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep cores busy: each of `loops` processes takes one."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(cli.run(main))

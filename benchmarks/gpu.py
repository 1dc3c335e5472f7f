"""`python -m benchmarks.gpu`: search, training steps and encoding on a GPU, checked and measured within some minutes.

Codes, centroids, weights and texts are random. Times are medians. The floor is the time to read the codes once, at the
bandwidth that a copy reaches in the same run.
"""

import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from benchmarks import shared
from benchmarks.data import random_quantizer
from benchmarks.gpu_run import Run, Search, guarded
from benchmarks.gpu_search import search
from pyserini_jpq import cli
from pyserini_jpq.scan.device import by_subspace

PACKAGES = ("torch", "triton", "faiss-gpu", "faiss-cpu", "transformers")
CHECKED = 20_000
"""Most documents that the reference searches."""


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("gpu", "Check and measure search, training and encoding on a GPU.")
    parser.add_argument("--device", default="auto", help="cuda:0 and so on; cpu only to try this command out")
    parser.add_argument("--documents", type=cli.positive_int, default=8_841_823, help="documents of random codes")
    parser.add_argument("--m", type=cli.positive_int, default=96, help="bytes a document")
    parser.add_argument("--dimension", type=cli.positive_int, default=768, help="dimensions of a vector")
    parser.add_argument("--layers", type=cli.positive_int, default=12, help="layers of the encoder")
    parser.add_argument("--queries", type=cli.positive_int, nargs="+", default=[1, 32, 1024], help="queries of a batch")
    parser.add_argument("--hits", type=cli.positive_int, nargs="+", default=[10, 1000], help="hits of a query")
    parser.add_argument("--batch-size", type=cli.positive_int, default=32, help="queries of a training step")
    parser.add_argument("--negatives", type=cli.positive_int, default=200, help="documents of each of them")
    parser.add_argument("--texts", type=cli.positive_int, default=4096, help="texts to encode")
    parser.add_argument("--rounds", type=cli.positive_int, default=9, help="times that each is run")
    parser.add_argument("--seconds", type=cli.positive_int, default=400, help="what has not begun by then is left out")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = define_flags().parse_args(argv)
    torch.manual_seed(0)
    run = Run(args)
    name = torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else "CPU"
    print(f"{name}; {', '.join(map(_version, PACKAGES))}; {args.documents} documents, M={args.m}, D={args.dimension}")
    print(f"memory: {run.bandwidth / 1e9:.0f} GB/s, read and written; floor: {run.floor:.3f} ms for all codes")
    for part in (check, training, search, shapes, encoding):
        print(f"\n{'left out, the time is over: ' if run.over else ''}{part.__doc__}", flush=True)
        if not run.over:
            part(run)
        if run.device.type == "cuda":
            torch.cuda.empty_cache()
    if run.wrong:
        print(f"\nwrong results: {', '.join(run.wrong)}")
        raise SystemExit(1)


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def check(run: Run) -> None:
    """Results, beside those of the reference, `ProductQuantizer.search`, bit by bit and row by row."""
    table = shared.Printed("way", "M", "bits", "documents", "queries", "k", "results", first=14)
    chance = np.random.default_rng(0)
    documents = min(run.args.documents, CHECKED)
    for m, bits, queries, k in ((run.args.m, 8, 3, 1000), (4, 8, 32, 100), (2, 8, 33, 1000), (24, 4, 1, 10)):
        quantizer = random_quantizer(2 * m, m, bits, chance)
        codes = chance.integers(0, quantizer.k, (documents, m), dtype=np.uint8)
        vectors = chance.normal(size=(queries, quantizer.dimension)).astype(np.float32)
        expected = quantizer.search(vectors, codes, k)
        tables = torch.from_numpy(quantizer.lookup_tables(vectors)).to(run.device)
        there = by_subspace(torch.from_numpy(codes), run.device)
        for name, way in run.ways(quantizer.k).items():
            same = all(np.array_equal(a.cpu(), b) for a, b in zip(way(there, tables, k), expected, strict=True))
            table.add(name, m, bits, documents, queries, k, "equal" if same else "DIFFER")
            run.wrong += [] if same else [f"{name}, M={m}, {bits} bits"]


def training(run: Run) -> None:
    """Training step, ms by phase; an encoder of BERT's shape, queries of 32 tokens; shares of the floor in it."""
    from benchmarks.training import make_model, take_step
    from pyserini_jpq.train.data import TrainingQuery
    from pyserini_jpq.train.machine import training_dtype
    from pyserini_jpq.train.optimizer import make_optimizer
    from pyserini_jpq.train.options import Recipe
    from pyserini_jpq.train.timer import PHASES

    args, dtype = run.args, training_dtype("auto", run.device)
    model = make_model(1, args.m, args.dimension, 32, args.layers).to(run.device)
    model.codes = run.codes()
    optimizer = make_optimizer(model, Recipe())
    rows = torch.randint(args.documents, (args.batch_size,), device=run.device)
    batch = [TrainingQuery(str(i), "", row[None], torch.ones(1)) for i, row in enumerate(rows)]
    k = min(args.negatives, args.documents)
    table = shared.Printed("way", *PHASES, "step", "floor/search", "floor/step", first=14)
    for name, way in run.ways().items():
        found: list[dict[str, float]] = []

        @torch.no_grad()
        def negatives(queries: torch.Tensor, k: int, way: Search = way) -> torch.Tensor:
            return way(model.codes, model.tables(queries), k)[1]

        step = partial(take_step, model, negatives, optimizer, batch, k, dtype)
        with guarded(table, name):
            run.milliseconds(lambda step=step, found=found: found.append(step()))
            times = {phase: float(np.median([step[phase] for step in found[1:]])) for phase in PHASES}
            whole = float(np.median([sum(step.values()) for step in found[1:]]))
            shares = [f"{100 * run.floor / time:.1f} %" for time in (times["search"], whole)]
            table.add(name, *(f"{time:.2f}" for time in (*times.values(), whole)), *shares)


def shapes(run: Run) -> None:
    """First pass of the Triton scan, ms, by documents and warps of a program; the defaults are in `scan/kernels.py`."""
    from benchmarks.gpu_run import KERNELS

    if KERNELS not in run.ways():
        print("no Triton on a GPU here")
        return
    from pyserini_jpq.scan.kernels import best_of_groups

    codes, table = run.codes(), shared.Printed("documents", "warps", "1 query", "32 queries")
    for size in (128, 256, 512, 1024):
        for warps in (4, 8, 16):
            with guarded(table, size, warps):
                took = []
                for queries in (1, 32):
                    tables = torch.randn(queries, run.args.m, 256, device=run.device)
                    took.append(run.milliseconds(partial(best_of_groups, codes, tables, size, warps)))
                table.add(size, warps, *(f"{time:.2f}" for time in took))


def encoding(run: Run) -> None:
    """Texts of 128 tokens encoded by the pipeline of `encode`; `of the peak`: of a large matrix product's rate."""
    from benchmarks.encoding import operations, ours
    from benchmarks.training import make_encoder
    from pyserini_jpq.encode.precision import resolve_dtype

    args, dtype = run.args, str(resolve_dtype("auto", run.device)).removeprefix("torch.")
    side = 4096 if run.device.type == "cuda" else 512
    square = torch.randn(side, side, device=run.device, dtype=getattr(torch, dtype))
    peak = 2 * side**3 / run.milliseconds(lambda: square @ square) * 1e3
    table = shared.Printed("layers", "D", "number type", "texts/s", "of the peak")
    texts = ["text"] * args.texts
    for layers, dimension in sorted({(min(6, args.layers), min(384, args.dimension)), (args.layers, args.dimension)}):
        encoder = make_encoder(dimension, 128, layers).to(run.device).eval()
        with guarded(table, layers):
            took = run.milliseconds(partial(ours(encoder, "torch", 256, dtype), texts))
            share = operations(encoder, texts) / took * 1e3 / peak
            table.add(layers, dimension, dtype, f"{len(texts) / took * 1e3:.0f}", f"{share:.2f}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

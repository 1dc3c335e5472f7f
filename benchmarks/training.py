"""`python -m benchmarks.training`: the time of a training step by phase, beside two plain ways to find live negatives.

Codes and centroids are random; the encoder has the shape of all-MiniLM-L6-v2 and random weights, queries are random
words. All ways take the same steps in one process, in turn; medians are printed.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from benchmarks import shared
from benchmarks.data import random_quantizer
from pyserini_jpq import cli
from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.files import write_json_atomically
from pyserini_jpq.index.faiss_format import spread, to_faiss
from pyserini_jpq.train.candidates import make_candidates
from pyserini_jpq.train.data import TrainingQuery
from pyserini_jpq.train.losses import LABEL_LOSSES
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.optimizer import make_optimizer
from pyserini_jpq.train.options import Recipe
from pyserini_jpq.train.search import ScanSearch
from pyserini_jpq.train.timer import PHASES, Timer

Search = Callable[[torch.Tensor, int], torch.Tensor]


class RandomTokens:
    """Stands in for a tokenizer: a query is some random token ids."""

    pad_token_id = 0
    mask_token = "[MASK]"

    def __init__(self, vocabulary: int, length: int) -> None:
        self._vocabulary = vocabulary
        self._length = length

    def __call__(self, texts: Sequence[str], **_: Any) -> dict[str, list[list[int]]]:
        """Return the ids of texts."""
        shape = (len(texts), self._length)
        return {"input_ids": np.random.default_rng(0).integers(1, self._vocabulary, shape).tolist()}


def make_encoder(dimension: int, length: int, layers: int = 6) -> Encoder:
    """Return an encoder of random weights, for texts of that many random tokens."""
    sizes = {"hidden_size": dimension, "num_hidden_layers": layers, "num_attention_heads": 12}
    config = BertConfig(**sizes, intermediate_size=4 * dimension)
    backbone = BertModel(config, add_pooling_layer=False)
    card = EncoderCard("random", pooling="mean", normalize=True)
    return Encoder(card, backbone, RandomTokens(config.vocab_size, length))


def make_model(documents: int, m: int, dimension: int, length: int, layers: int = 6) -> JPQModel:
    """Return a model of that many random documents."""
    rng = np.random.default_rng(0)
    encoder = make_encoder(dimension, length, layers)
    quantizer = random_quantizer(dimension, m, 8, rng)
    quantizer.centroids[:] *= dimension**-0.5
    codes = rng.integers(0, 256, (documents, m), dtype=np.uint8)
    return JPQModel(encoder, quantizer, codes)


def rebuilt_index(model: JPQModel) -> Search:
    """Return the plain way: a faiss `IndexPQ` made anew from codes and centroids at every step."""
    import faiss

    def search(queries: torch.Tensor, k: int) -> torch.Tensor:
        quantizer = model.quantizer()
        index = to_faiss(quantizer, model.codes.numpy())
        inner: Any = faiss.downcast_index(index.index)  # behind the rotation, which these queries have passed
        return torch.from_numpy(inner.search(spread(quantizer, queries.detach().numpy(), 1), k)[1])

    return search


def decoded_product(model: JPQModel) -> Search:
    """Return the other plain way: decode all documents, one matrix product, the k largest."""

    def search(queries: torch.Tensor, k: int) -> torch.Tensor:
        with torch.no_grad():
            codes = [model.codes[:, j].int() for j in range(len(model.centroids))]
            decoded = torch.cat([table[of] for table, of in zip(model.centroids, codes, strict=True)], dim=1)
            biases = sum(table[of] for table, of in zip(model.biases, codes, strict=True))
            return (queries @ decoded.T + biases).topk(k, dim=1).indices

    return search


def take_step(
    model: JPQModel,
    search: Search,
    optimizer: torch.optim.Optimizer,
    batch: Sequence[TrainingQuery],
    k: int,
    dtype: torch.dtype = torch.float32,
) -> dict[str, float]:
    """Take one step, the encoder in a number type, and return the milliseconds of its phases."""
    device = model.codes.device
    timer = Timer(device)
    timer.start()
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        queries = model.encode([query.text for query in batch]).float()
    timer.done("encode")
    found = search(queries, k)
    timer.done("search")
    candidates = make_candidates(batch, found, found.shape[1])
    loss = LABEL_LOSSES["lambda-rr"](20 * model.score(queries, candidates.offsets), candidates)
    timer.done("loss")
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    timer.done("update")
    return timer.read()


def measure(args: argparse.Namespace, documents: int, m: int) -> list[dict[str, Any]]:
    """Return a row of medians for each way, on an index of that many documents."""
    model = make_model(documents, m, args.dimension, args.length)
    optimizer = make_optimizer(model, Recipe())
    rows = torch.randint(documents, (args.batch_size,), generator=torch.Generator().manual_seed(0))
    batch = [TrainingQuery(str(i), "", row[None], torch.ones(1)) for i, row in enumerate(rows)]
    ways = {
        "ours": ScanSearch(model).search,
        "IndexPQ rebuilt": rebuilt_index(model),
        "decoded product": decoded_product(model),
    }
    times: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for turn in range(args.steps + 1):
        for name, search in ways.items():
            phases = take_step(model, search, optimizer, batch, min(args.negatives, documents))
            if turn:  # the first one warms up
                times[name].append(phases)
    results = []
    for name, steps in times.items():
        medians = {phase: statistics.median(step[phase] for step in steps) for phase in PHASES}
        whole = statistics.median(sum(step.values()) for step in steps)
        results.append({"documents": documents, "m": m, "way": name, **medians, "step": whole})
    return results


def show(results: list[dict[str, Any]]) -> None:
    """Print the rows of one index, with the ratio to the better of the plain ways."""
    ours, *plain = results
    for row in results:
        phases = "  ".join(f"{phase} {row[phase]:8.1f}" for phase in PHASES)
        print(f"{row['documents']:>9} M={row['m']:<3} {row['way']:<16} {phases}  step {row['step']:8.1f} ms")
    search, step = (min(row[key] for row in plain) / ours[key] for key in ("search", "step"))
    print(f"{'':>15} faster than the better of the two: search {search:.1f} times, whole step {step:.2f} times\n")


def main(argv: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = shared.parser("training", "Time a training step by phase, beside two plain ways to find live negatives.")
    parser.add_argument("--documents", type=cli.positive_int, nargs="+", default=[3_633, 49_102, 1_000_000])
    parser.add_argument("--m", type=cli.positive_int, nargs="+", default=[24, 96])
    parser.add_argument("--dimension", type=cli.positive_int, default=384)
    parser.add_argument("--batch-size", type=cli.positive_int, default=32)
    parser.add_argument("--negatives", type=cli.positive_int, default=200)
    parser.add_argument("--length", type=cli.positive_int, default=12, help="tokens of a query")
    parser.add_argument("--steps", type=cli.positive_int, default=5)
    parser.add_argument("--threads", type=cli.positive_int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    import faiss

    torch.set_num_threads(args.threads)
    faiss.omp_set_num_threads(args.threads)
    results: list[dict[str, Any]] = []
    for documents in args.documents:
        for m in args.m:
            measured = measure(args, documents, m)
            show(measured)
            results += measured
    if args.json:
        flags = {**vars(args), "json": None}
        write_json_atomically(args.json, {"date": time.strftime("%Y-%m-%d"), "flags": flags, "rows": results})


if __name__ == "__main__":
    sys.exit(cli.run(main))

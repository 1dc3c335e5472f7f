"""`python -m benchmarks.encoding`: documents a second by each backend and by sentence-transformers, and the floor.

All encode the same texts with the same weights and batch, from text to vector, turn by turn in one process. The floor
is the arithmetic of the model by what the cores reach in one large product of matrices, in the same number type.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import shared
from pyserini_jpq import cli
from pyserini_jpq.encode.backend import DOCUMENT_BACKENDS, document_backend
from pyserini_jpq.errors import InstallationError, JPQError
from pyserini_jpq.quantizer import Floats

TIMERS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` sums over threads, and leaves out the time that other processes had the cores."""

_SIDE = 2048
_HITS = 10

Encode = Callable[[Sequence[str]], Floats]


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("encoding", "Time the encoding of documents, beside sentence-transformers.")
    parser.add_argument("--corpus", required=True, help="as in encode")
    parser.add_argument("--encoder", default="all-minilm-l6-v2", help="card or folder; its files must be here")
    parser.add_argument("--documents", type=cli.positive_int, default=512, help="documents that are timed, at random")
    parser.add_argument("--batch-size", type=cli.positive_int, default=32, help="of all")
    parser.add_argument("--backends", nargs="+", choices=DOCUMENT_BACKENDS, default=list(DOCUMENT_BACKENDS))
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="what torch computes in")
    parser.add_argument("--threads", type=cli.positive_int, help="of each; all cores by default")
    parser.add_argument("--repeat", type=cli.positive_int, default=3, help="turns; the median counts")
    parser.add_argument("--topics", help="queries: encode all documents, too, and rank them without an index")
    parser.add_argument("--qrels", help="their judgements")
    parser.add_argument("--clock", choices=sorted(TIMERS), default="wall", help="cpu: without other processes' share")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the benchmark and print a table."""
    import torch

    from pyserini_jpq.data.collection import Collection
    from pyserini_jpq.download.collection import find_corpus
    from pyserini_jpq.encode.source import find_encoder

    parser = define_flags()
    args = parser.parse_args(argv)
    if bool(args.topics) != bool(args.qrels):
        parser.error("--topics and --qrels go together")
    torch.set_num_threads(args.threads or torch.get_num_threads())
    encoder = find_encoder(args.encoder).load()
    template = encoder.card.document.template
    corpus = {d.docid: d.render(template) for d in Collection(find_corpus(args.corpus), skip_empty=True)}
    texts = random.Random(0).sample(list(corpus.values()), min(args.documents, len(corpus)))
    ways = {"sentence-transformers": theirs(encoder, args.batch_size, args.dtype)}
    for backend in args.backends:
        try:
            ways[backend] = ours(encoder, backend, args.batch_size, args.dtype)
        except InstallationError as problem:
            cli.warn(str(problem))
    now = TIMERS[args.clock]
    peaks, seconds, vectors = measure(ways, texts, args.repeat, partial(peak, now, args.dtype), now)
    arithmetic = operations(encoder, texts)
    tokens = statistics.mean(map(len, encoder.tokenize(texts, encoder.card.document)))
    how = f"{args.dtype}, {torch.get_num_threads()} threads, {args.clock} clock, batch {args.batch_size}"
    print(f"{how}, {len(texts)} documents of {tokens:.0f} tokens")
    print(f"peak {peaks / 1e9:.0f} GFLOP/s, floor {arithmetic / peaks / len(texts) * 1e3:.2f} ms a document")
    judged = ["nDCG@10"] if args.topics else []
    table = shared.Printed("backend", "docs/s", "ratio", "of the peak", "least cosine", *judged)
    base = "sentence-transformers"
    for name, encode in ways.items():
        value = [f"{ndcg(encoder, encode, corpus, args.topics, args.qrels):.4f}"] if judged else []
        took = seconds[name]
        ratio = statistics.median(a / b for a, b in zip(seconds[base], took, strict=True))
        took_once = statistics.median(took)
        table.add(
            name,
            f"{len(texts) / took_once:.1f}",
            f"{ratio:.2f}",
            f"{arithmetic / took_once / peaks:.2f}",
            f"{_cosines(vectors[name], vectors[base]).min():.4f}",
            *value,
        )


def theirs(encoder: Any, batch_size: int, dtype: str) -> Encode:
    """Return the encoding of sentence-transformers with the weights of an encoder."""
    import torch
    from sentence_transformers import SentenceTransformer

    from pyserini_jpq.encode.weights import backbone_location

    model = SentenceTransformer(backbone_location(encoder.card), device="cpu", local_files_only=True)
    model = model.to(getattr(torch, dtype))
    model.max_seq_length = encoder.longest(encoder.card.document)
    prompt = encoder.card.document.prefix
    return lambda texts: np.asarray(
        model.encode(list(texts), batch_size=batch_size, prompt=prompt or None, show_progress_bar=False),
        dtype=np.float32,
    )


def ours(encoder: Any, backend: str, batch_size: int, dtype: str) -> Encode:
    """Return the encoding of a backend, as `encode` does it but for the files."""
    import torch

    from pyserini_jpq.encode.pipeline import pipeline

    compute = document_backend(encoder, backend)
    number_type = getattr(torch, dtype if backend == "torch" else "float32")

    def encode(texts: Sequence[str]) -> Floats:
        vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
        with pipeline(encoder, compute, batch_size, number_type) as encoding:
            for positions, found in encoding.vectors(texts, np.ones(len(texts), dtype=bool)):
                vectors[positions] = found
        return vectors

    return encode


def measure(
    ways: Mapping[str, Encode], texts: Sequence[str], repeat: int, peak: Callable[[], float], now: Callable[[], float]
) -> tuple[float, dict[str, list[float]], dict[str, Floats]]:
    """Return the best peak, seconds of each turn by name, and vectors; what disturbs the machine disturbs all."""
    vectors = {name: encode(texts[:8]) for name, encode in ways.items()}  # a first call, which does not count
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peaks = []
    for _ in range(repeat):
        peaks.append(peak())
        for name, encode in ways.items():
            started = now()
            vectors[name] = encode(texts)
            seconds[name].append(now() - started)
    return max(peaks), seconds, vectors


def peak(now: Callable[[], float], dtype: str) -> float:
    """Return the operations a second of a product of two large matrices, the best of five."""
    import torch

    a, b = (torch.randn(_SIDE, _SIDE).to(getattr(torch, dtype)) for _ in range(2))
    took = []
    for _ in range(6):
        started = now()
        a @ b
        took.append(now() - started)
    return 2 * _SIDE**3 / min(took[1:])


def operations(encoder: Any, texts: Sequence[str], side: Any = None) -> float:
    """Return additions and multiplications of the linear layers and of attention, without padding.

    Texts are documents, unless the side of the encoder's card is that of queries.
    """
    from torch import nn

    lengths = np.array([len(row) for row in encoder.tokenize(texts, side or encoder.card.document)], dtype=np.float64)
    config = encoder.backbone.config
    linear = sum(2 * layer.weight.numel() for layer in encoder.backbone.modules() if isinstance(layer, nn.Linear))
    attention = 4 * config.num_hidden_layers * config.hidden_size
    return float(linear * lengths.sum() + attention * (lengths**2).sum())


def ndcg(encoder: Any, encode: Encode, corpus: Mapping[str, str], topics_name: str, qrels_name: str) -> float:
    """Return nDCG@10 of all documents ranked by inner product, with queries by torch in float32."""
    import torch

    from pyserini_jpq.data.qrels import read_qrels
    from pyserini_jpq.data.topics import read_topics
    from pyserini_jpq.encode.backend import query_backend
    from pyserini_jpq.evaluate.metrics import Metrics

    qrels = read_qrels(qrels_name)
    topics = {qid: text for qid, text in read_topics(topics_name).items() if qid in qrels}
    if not topics:
        raise JPQError(f"{qrels_name} judges none of the topics in {topics_name}")
    with torch.inference_mode():
        scores = query_backend(encoder, "torch")(list(topics.values())) @ encode(list(corpus.values())).T
    docids, best = list(corpus), np.argsort(-scores, axis=1, kind="stable")[:, :_HITS]
    run = {qid: {docids[i]: float(row[i]) for i in top} for qid, row, top in zip(topics, scores, best, strict=True)}
    (values,) = Metrics(["nDCG@10"]).per_query({qid: qrels[qid] for qid in topics}, run).values()
    return float(values.mean())


def _cosines(a: Floats, b: Floats) -> Floats:
    cosines: Floats = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosines


if __name__ == "__main__":
    sys.exit(cli.run(main))

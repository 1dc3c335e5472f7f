"""`python -m benchmarks.encoder`: what computes a query's vector, its time for one query, and what is then found."""

import sys
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks import shared
from benchmarks.data import index_data
from benchmarks.measure import ndcg
from pyserini_jpq import cli
from pyserini_jpq.compare.timer import timed
from pyserini_jpq.encode.backend import BACKENDS, query_backend
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.index.encoders import query_encoder_source
from pyserini_jpq.index.folder import IndexFolder, find_index

HITS = 10


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command."""
    parser = shared.parser("encoder", "Compare what computes the vectors of queries, one query at a time.")
    parser.add_argument("--index", required=True, help="index folder or name, of 8 bits; its encoder is measured")
    parser.add_argument("--topics", required=True, help="queries")
    parser.add_argument("--qrels", help="their judgements, for nDCG@10")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="only these")
    parser.add_argument("--threads", type=cli.positive_int, default=1, help="threads of each")
    shared.add_clock(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    import torch

    args = define_flags().parse_args(argv)
    torch.set_num_threads(args.threads)
    data = index_data(args.index, args.topics, args.qrels)
    source = query_encoder_source(IndexFolder(find_index(args.index)))
    encoder = Encoder.load(source.card, source.folder)
    judged = ["nDCG@10"] if data.qrels else []
    table = shared.Printed("backend", "ms/query", "least cosine", *judged)
    for backend in args.backends:
        encode = query_backend(encoder, backend)
        encode(data.queries.texts[:1])
        vectors, took = [], []
        for text in data.queries.texts:
            took.append(timed(partial(encode, [text]), args.clock))
            vectors.append(encode([text])[0])
        found = data.quantizer.search(np.array(vectors), data.codes, HITS)[1]
        value = ndcg(found, data)
        cosine = _cosines(np.array(vectors), data.queries.vectors).min()
        judged = [] if value is None else [f"{value:.4f}"]
        table.add(backend, f"{1e3 * np.median(took):.2f}", f"{cosine:.4f}", *judged)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of one with the same row of the other, both [B, D]."""
    cosines: np.ndarray = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosines


if __name__ == "__main__":
    sys.exit(cli.run(main))

"""The options of an index."""

from dataclasses import dataclass

from pyserini_jpq.cli import positive_int, seed
from pyserini_jpq.index.manifest import KINDS
from pyserini_jpq.options import Options, option, yes_or_no


@dataclass(frozen=True)
class IndexOptions(Options):
    """Options of a new index; every field is a flag of `python -m pyserini_jpq.index`."""

    m: int = option(96, "codes of a document: a divisor of the dimensions, if not additive", positive_int)
    bits: int = option(8, "bits of a code in one subspace", int, choices=(4, 8))
    sample: int = option(
        65536, "documents that the quantizer is trained on; of additive codes at most half of all", positive_int
    )
    seed: int = option(42, "of the sample and of the k-means", seed)
    shards: int | None = option(None, "parts that the index consists of (default: none)", positive_int, metavar="N")
    blocks: bool = option(True, "keep codes once more, for a faster search; also with --index alone", yes_or_no)
    keep_vectors: str | None = option(
        None, "keep vectors, by which `search --rescore` scores the best hits again; also with --index", choices=KINDS
    )
    quantizer: str = option(
        "product",
        "product: OPQ, one codebook for each subspace; additive: sums of several codebooks' centroids",
        choices=("product", "additive"),
    )
    parts: int | None = option(
        None, "parts of the dimensions in which additive codes are sums; by default one for each 48 of M", positive_int
    )

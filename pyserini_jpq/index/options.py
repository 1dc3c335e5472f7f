"""The options of an index."""

from dataclasses import dataclass

from pyserini_jpq.cli import positive_int, seed
from pyserini_jpq.options import Options, option, yes_or_no


@dataclass(frozen=True)
class IndexOptions(Options):
    """Options of a new index; every field is a flag of `python -m pyserini_jpq.index`."""

    m: int = option(96, "subspaces: a divisor of the dimensions", positive_int)
    bits: int = option(8, "bits of a code in one subspace", int, choices=(4, 8))
    sample: int = option(65536, "documents that rotation and centroids are trained on", positive_int)
    seed: int = option(42, "of the sample and of the k-means", seed)
    shards: int | None = option(None, "parts that the index consists of (default: none)", positive_int, metavar="N")
    blocks: bool = option(True, "keep codes once more, for a faster search; also with --index alone", yes_or_no)

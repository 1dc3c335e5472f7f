"""The options of a search: fields of one dataclass, which make the flags of `python -m pyserini_jpq.search`."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from pyserini_jpq.cli import positive_int
from pyserini_jpq.options import Options, option, switch


def run_tag(text: str) -> str:
    """Parse the tag of a run, as an argparse type."""
    if len(text.split()) != 1 or text != text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not one word, as the last column of a run file has to be")
    return text


@dataclass(frozen=True)
class SearchOptions(Options):
    """How topics are searched; names and defaults are those of `pyserini.search.faiss` where it has them."""

    topics_format: str = option("default", "default, or another that Pyserini reads")
    output_format: str = option("trec", "of the run file", choices=("trec", "msmarco", "kilt"))
    tag: str | None = option(None, "last column of a TREC run file (default: the index's name)", run_tag)
    hits: int = option(1000, "hits of each query", positive_int)
    batch_size: int = option(1, "queries searched at once", positive_int)
    threads: int = option(1, "most threads of the search, up to one a core", positive_int)
    encoder: str | None = option(None, "query encoder, where not the one that the index names")
    any_encoder: bool = option(False, "allow one that the index was not trained with", switch)
    encoded_queries: str | None = option(None, "folder of encoded queries as Pyserini writes it, or its name")
    query_prefix: str | None = option(None, "text in front of every query, where not the encoder card's")
    max_length: int | None = option(None, "most tokens of a query, where not the card's", positive_int)
    device: str = option("cpu", "of the query encoder: cpu, cuda, cuda:1, auto")
    encoder_backend: str = option(
        "torch",
        "what computes it: float32 or bfloat16 by torch, float32 or 8 bits by ONNX Runtime, float32 by OpenVINO",
        choices=("torch", "bfloat16", "onnx", "onnx-int8", "openvino"),
    )
    faiss_device: str = option("cpu", "of the search: cpu, cuda:0")
    ivf: int | None = option(None, "number of inverted lists to search", positive_int, metavar="LISTS")
    nprobe: int | None = option(None, "lists of a query (default: an eighth)", positive_int, metavar="P")
    rescore: int | None = option(
        None, "how many hits of each query are scored again by vectors that the index keeps", positive_int, metavar="N"
    )
    max_passage: bool = option(False, "the best passage of each document only", switch)
    max_passage_hits: int = option(100, "documents then written", positive_int)
    max_passage_delimiter: str = option("#", "between docid and passage id")
    remove_query: bool = option(False, "drop the hit whose docid is the query's id", switch)
    normalize_distances: bool = option(False, "map scores to the unit interval", switch)
    prf_depth: int = option(0, "hits for pseudo-relevance feedback; 0: none", int)
    prf_method: str = option("avg", "how they change the query", choices=("avg", "rocchio"))
    rocchio_alpha: float = option(0.9, "weight of the query", float)
    rocchio_beta: float = option(0.1, "weight of the feedback", float)
    rocchio_gamma: float = option(0.1, "weight of the negative feedback", float)
    rocchio_topk: int = option(3, "positive feedback", int)
    rocchio_bottomk: int = option(0, "negative feedback", int)
    rerank: str | None = option(None, "sequence classifier that scores the best hits again", metavar="MODEL")
    rerank_hits: int = option(30, "how many of each query", positive_int)
    rerank_batch_size: int = option(32, "pairs scored at once", positive_int)
    rerank_max_length: int = option(512, "most tokens of a pair", positive_int)
    corpus: Path | None = option(None, "collection with the texts that --rerank reads", Path)
    verify: bool = option(False, "compare the hashes of the index's files first", switch)
    yes: bool = option(False, "fetch an index that is not here without asking", switch)

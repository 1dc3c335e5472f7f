"""`python -m pyserini_jpq.search`: topics become a run file, with the flags of Pyserini's own search."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.errors import JPQError

DEFAULT_INDEX = "msmarco-v1-passage.jpq-m96"


def define_flags() -> cli.OneLineParser:
    """Return the parser of this command; names and defaults are those of `pyserini.search.faiss` where it has them."""
    parser = cli.parser("search", "Search topics in an index and write a run file.")
    parser.add_argument("--index", default=DEFAULT_INDEX, help="index folder, name or card, or embeddings")
    parser.add_argument("--topics", required=True, help="TSV or JSONL file (.gz or not), or a Pyserini name")
    parser.add_argument("--topics-format", default="default", help="default, or another that Pyserini reads")
    parser.add_argument("--output", type=Path, help="run file (default: runs/run.COLLECTION.CONDITION.TOPICS.txt)")
    parser.add_argument("--output-format", choices=("trec", "msmarco", "kilt"), default="trec", help="of the run file")
    parser.add_argument(
        "--tag", type=_tag, default=None, help="last column of a TREC run file (default: the index's name)"
    )
    parser.add_argument("--hits", type=cli.positive_int, default=1000, help="hits of each query")
    parser.add_argument("--batch-size", type=cli.positive_int, default=1, help="queries searched at once")
    parser.add_argument("--threads", type=cli.positive_int, default=1, help="most threads of the search")
    parser.add_argument("--encoder", help="query encoder, where not the one that the index names")
    parser.add_argument("--any-encoder", action="store_true", help="allow one that the index was not trained with")
    parser.add_argument("--encoded-queries", help="folder of encoded queries as Pyserini writes it, or its name")
    parser.add_argument("--query-prefix", help="text in front of every query, where not the encoder card's")
    parser.add_argument("--max-length", type=cli.positive_int, help="most tokens of a query, where not the card's")
    parser.add_argument("--device", default="cpu", help="of the query encoder: cpu, cuda, cuda:1, auto")
    parser.add_argument(
        "--encoder-backend",
        choices=("torch", "bfloat16", "onnx", "onnx-int8"),
        default="torch",
        help="what computes it: float32 or bfloat16 by torch, float32 or 8 bits by ONNX Runtime",
    )
    parser.add_argument("--faiss-device", default="cpu", help="of the search: cpu, cuda:0")
    parser.add_argument("--ivf", type=cli.positive_int, metavar="LISTS", help="search inverted lists, so many")
    parser.add_argument("--nprobe", type=cli.positive_int, metavar="P", help="lists of a query (default: an eighth)")
    parser.add_argument("--max-passage", action="store_true", help="the best passage of each document only")
    parser.add_argument("--max-passage-hits", type=cli.positive_int, default=100, help="documents then written")
    parser.add_argument("--max-passage-delimiter", default="#", help="between docid and passage id")
    parser.add_argument("--remove-query", action="store_true", help="drop the hit whose docid is the query's id")
    parser.add_argument("--normalize-distances", action="store_true", help="map scores to the unit interval")
    parser.add_argument("--prf-depth", type=int, default=0, help="hits for pseudo-relevance feedback; 0: none")
    parser.add_argument("--prf-method", choices=("avg", "rocchio"), default="avg", help="how they change the query")
    parser.add_argument("--rocchio-alpha", type=float, default=0.9, help="weight of the query")
    parser.add_argument("--rocchio-beta", type=float, default=0.1, help="weight of the feedback")
    parser.add_argument("--rocchio-gamma", type=float, default=0.1, help="weight of the negative feedback")
    parser.add_argument("--rocchio-topk", type=int, default=3, help="positive feedback")
    parser.add_argument("--rocchio-bottomk", type=int, default=0, help="negative feedback")
    parser.add_argument("--rerank", metavar="MODEL", help="sequence classifier that scores the best hits again")
    parser.add_argument("--rerank-hits", type=cli.positive_int, default=30, help="how many of each query")
    parser.add_argument("--rerank-batch-size", type=cli.positive_int, default=32, help="pairs scored at once")
    parser.add_argument("--rerank-max-length", type=cli.positive_int, default=512, help="most tokens of a pair")
    parser.add_argument("--corpus", type=Path, help="collection with the texts that --rerank reads")
    parser.add_argument("--verify", action="store_true", help="compare the hashes of the index's files first")
    parser.add_argument("--overwrite", action="store_true", help="replace the run file that is there")
    return parser


def _tag(text: str) -> str:
    if len(text.split()) != 1 or text != text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not one word, as the last column of a run file has to be")
    return text


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    search(define_flags().parse_args(argv))


def search(args: argparse.Namespace) -> None:
    """Search what the flags name."""
    from pyserini_jpq.data.topics import read_topics
    from pyserini_jpq.files import refuse_existing_file, write_json_atomically
    from pyserini_jpq.prebuilt import obtain_index
    from pyserini_jpq.search.naming import default_run

    folder = obtain_index(args.index)
    name = folder.resolve().name
    output = args.output or default_run(name, args.topics)
    refuse_existing_file(output, args.overwrite)
    topics = read_topics(args.topics, args.topics_format)
    reranker = _reranker(args)
    searcher, facts = _searcher(args, folder)

    partial = output.with_name(f".{output.name}.partial")
    _write(args, searcher, reranker, topics, partial, args.tag or "_".join(name.split()))
    partial.replace(output)
    if reranker is not None:
        facts["rerank"] = {"model": args.rerank, "hits": args.rerank_hits, "latency": reranker.latency()}
    write_json_atomically(output.with_name(f"{output.name}.json"), {"index": str(args.index), **facts})
    cli.say(f"{len(topics)} topics: {output}")


def _searcher(args: argparse.Namespace, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the searcher of a folder, and what is noted beside the run: bytes of a document, and the encoder."""
    from pyserini_jpq.search.engines.flat import is_flat

    return _flat_searcher(args, folder) if is_flat(folder) else _jpq_searcher(args, folder)


def _jpq_searcher(args: argparse.Namespace, folder: Path) -> tuple[Any, dict[str, Any]]:
    from pyserini_jpq.index.encoders import query_encoder_source
    from pyserini_jpq.index.folder import IndexFolder

    index = IndexFolder(folder)  # what is wrong with it is told before Pyserini is imported, which takes seconds

    from pyserini_jpq.search.searcher import JPQFaissSearcher

    encoder = _encoder(args, lambda: query_encoder_source(index))
    # Flags that change how the index's own encoder is used are the user's explicit wish.
    lenient = args.any_encoder or args.max_length is not None or args.query_prefix is not None
    searcher = JPQFaissSearcher(
        folder,
        encoder,
        normalize_distances=args.normalize_distances,
        faiss_device=args.faiss_device,
        any_encoder=lenient,
        verify=args.verify,
        ivf=args.ivf,
        nprobe=args.nprobe,
    )
    manifest = index.manifest
    name = args.encoder or manifest.query_encoder["name"]
    return searcher, {"bytes_per_document": manifest.bytes_per_document, "encoder": name}


def _flat_searcher(args: argparse.Namespace, folder: Path) -> tuple[Any, dict[str, Any]]:
    from pyserini_jpq.encode.embeddings import Embeddings
    from pyserini_jpq.encode.source import noted_encoder
    from pyserini_jpq.search.engines.flat import FlatSearcher

    if args.prf_depth or args.normalize_distances or args.faiss_device != "cpu":
        raise JPQError(f"{folder} holds embeddings; feedback, normalized distances and faiss devices need an index")
    if args.ivf or args.nprobe:
        raise JPQError(f"{folder} holds embeddings; --ivf and --nprobe need an index")
    embeddings = Embeddings(folder)
    entry = embeddings.encoder
    encoder = _encoder(args, lambda: noted_encoder(entry, str(folder)))
    facts = {"bytes_per_document": 4 * embeddings.dimension, "encoder": args.encoder or entry["name"]}
    return FlatSearcher(folder, encoder), facts


def _encoder(args: argparse.Namespace, own: Callable[[], Any]) -> Any:
    """Return the query encoder that the flags name, else the index's own."""
    from pyserini_jpq.compat import pyserini
    from pyserini_jpq.search.encoder import JPQQueryEncoder

    if args.encoded_queries:
        return pyserini.encoded_queries(args.encoded_queries)
    return JPQQueryEncoder(args.encoder or own(), args.device, args.max_length, args.query_prefix, args.encoder_backend)


def _reranker(args: argparse.Namespace) -> Any:
    """Return the second stage that the flags name, or None."""
    if args.rerank is None:
        return None
    if args.corpus is None:
        raise JPQError("--rerank reads the texts of documents; give their collection with --corpus")
    if args.max_passage:
        raise JPQError("--rerank scores the documents that the index holds; leave --max-passage out")
    from pyserini_jpq.search.rerank import Reranker

    sizes = (args.rerank_hits, args.device, args.rerank_batch_size, args.rerank_max_length)
    return Reranker(args.rerank, args.corpus, *sizes)


def _write(
    args: argparse.Namespace, searcher: Any, reranker: Any, topics: dict[str, str], path: Path, tag: str
) -> None:
    from tqdm import tqdm

    from pyserini_jpq.data.run_writer import RunWriter, in_trec_order
    from pyserini_jpq.files import writing

    writer = RunWriter(
        path,
        args.output_format,
        hits=args.hits,
        tag=tag,
        topics={qid: {"input": text} for qid, text in topics.items()},
        max_passage=args.max_passage,
        max_passage_delimiter=args.max_passage_delimiter,
        max_passage_hits=args.max_passage_hits,
    )
    feedback = _feedback(args)
    try:
        with (
            writing(path),
            writer,
            tqdm(total=len(topics), desc="searching", unit=" topics") as progress,
        ):
            for batch in _batches(topics, args.batch_size):
                for qid, hits in _search_batch(args, searcher, batch, feedback).items():
                    kept = [hit for hit in hits if not (args.remove_query and hit.docid == qid)]
                    if reranker is not None:
                        kept = reranker.rerank(topics[qid], in_trec_order(kept))
                    writer.write(qid, kept)
                progress.update(len(batch))
    except BaseException as problem:
        path.unlink(missing_ok=True)
        if isinstance(problem, KeyboardInterrupt):
            raise KeyboardInterrupt("no run was written; the same command starts over") from None
        raise


def _batches(topics: dict[str, str], size: int) -> Iterator[dict[str, str]]:
    items = list(topics.items())
    for start in range(0, len(items), size):
        yield dict(items[start : start + size])


def _search_batch(args: argparse.Namespace, searcher: Any, batch: dict[str, str], feedback: Any) -> dict[str, Any]:
    qids, queries = list(batch), list(batch.values())
    if feedback is None:
        hits: dict[str, Any] = searcher.batch_search(queries, qids, args.hits, args.threads)
        return hits
    vectors, candidates = searcher.batch_search(queries, qids, args.prf_depth, args.threads, return_vector=True)
    vectors = feedback.get_batch_prf_q_emb(qids, vectors, candidates)
    hits = searcher.batch_search(vectors, qids, args.hits, args.threads)
    return hits


def _feedback(args: argparse.Namespace) -> Any:
    """Return pyserini's rule of pseudo-relevance feedback, or None."""
    from pyserini_jpq.compat import pyserini

    if args.prf_depth < 0:
        raise JPQError(f"--prf-depth {args.prf_depth} is below 0")
    if args.prf_depth == 0:
        return None
    if args.prf_method == "avg":
        return pyserini.average_prf()()
    return pyserini.rocchio_prf()(
        args.rocchio_alpha, args.rocchio_beta, args.rocchio_gamma, args.rocchio_topk, args.rocchio_bottomk
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))

"""The one door to pyserini.

Finds a Java, starts the JVM, evens out versions 1.6 to 2.x, and says in one line what is wrong. Nothing here imports
pyserini before it is called; the first call takes some seconds, most of them for torch and the JVM.
"""

import contextlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pyserini_jpq.compat.loading import check_faiss, load
from pyserini_jpq.compat.topic_names import TOPICS_READERS, qrels_path_by_name, topics_by_name, topics_from_file
from pyserini_jpq.errors import EncoderError, RunError

__all__ = [
    "OUTPUT_FORMATS",
    "TOPICS_READERS",
    "average_prf",
    "check_faiss",
    "dense_search_result",
    "encoded_queries",
    "faiss_searcher_base",
    "fuse",
    "hybrid_searcher",
    "lucene_indexer",
    "lucene_searcher",
    "output_writer",
    "prf_dense_search_result",
    "qrels_path_by_name",
    "query_encoder_base",
    "query_vectors",
    "rocchio_prf",
    "topics_by_name",
    "topics_from_file",
    "trec_eval",
]

OUTPUT_FORMATS = ("trec", "msmarco", "kilt")


def query_encoder_base() -> Any:
    """Return the class `pyserini.encode.QueryEncoder`."""
    return load("pyserini.encode").QueryEncoder


def faiss_searcher_base() -> Any:
    """Return the class `pyserini.search.faiss.FaissSearcher`."""
    return load("pyserini.search.faiss").FaissSearcher


def dense_search_result() -> Any:
    """Return the class `pyserini.search.faiss.DenseSearchResult`: a hit, with `docid` and `score`."""
    return load("pyserini.search.faiss").DenseSearchResult


def prf_dense_search_result() -> Any:
    """Return the class `pyserini.search.faiss.PrfDenseSearchResult`: a hit, with `docid`, `score` and `vectors`."""
    return load("pyserini.search.faiss").PrfDenseSearchResult


def average_prf() -> Any:
    """Return the class `pyserini.search.faiss.DenseVectorAveragePrf`."""
    return load("pyserini.search.faiss").DenseVectorAveragePrf


def rocchio_prf() -> Any:
    """Return the class `pyserini.search.faiss.DenseVectorRocchioPrf`."""
    return load("pyserini.search.faiss").DenseVectorRocchioPrf


def hybrid_searcher() -> Any:
    """Return the class `pyserini.search.hybrid.HybridSearcher`."""
    check_faiss()
    return load("pyserini.search.hybrid").HybridSearcher


def lucene_searcher() -> Any:
    """Return the class `pyserini.search.lucene.LuceneSearcher`."""
    return load("pyserini.search.lucene").LuceneSearcher


def lucene_indexer() -> Any:
    """Return the class `pyserini.index.lucene.LuceneIndexer`."""
    return load("pyserini.index.lucene").LuceneIndexer


def encoded_queries(folder_or_name: str) -> Any:
    """Return a `QueryEncoder` that looks the vectors of known queries up.

    Parameters
    ----------
    folder_or_name
        A folder with an `embedding.pkl`, or one of pyserini's names, which it fetches.

    Raises
    ------
    EncoderError
        If there is no such folder or name, or it cannot be fetched.
    """
    encoder_class = query_encoder_base()
    if os.path.isdir(folder_or_name):
        if not os.path.isfile(os.path.join(folder_or_name, "embedding.pkl")):
            raise EncoderError(f"{folder_or_name}: no embedding.pkl in it; pyserini.encode.query writes such a folder")
        return encoder_class(folder_or_name)
    with contextlib.redirect_stdout(io.StringIO()):  # it says what it attempts, and that it failed
        encoder = encoder_class.load_encoded_queries(folder_or_name)
    if encoder is None:
        raise EncoderError(
            f"encoded queries {folder_or_name!r}: neither a folder nor a name that pyserini can fetch; "
            "pyserini.encode.query writes such a folder"
        )
    return encoder


def query_vectors(encoder: Any) -> dict[str, Any]:
    """Return the vectors of a `QueryEncoder` from `encoded_queries`, by the text of the query."""
    vectors: dict[str, Any] = encoder.embeddings if hasattr(encoder, "embeddings") else encoder.embedding
    return vectors


def output_writer(
    path: str | os.PathLike[str],
    output_format: str = "trec",
    *,
    hits: int = 1000,
    tag: str = "pyserini_jpq",
    topics: Mapping[str, Any] | None = None,
    max_passage: bool = False,
    max_passage_delimiter: str = "#",
    max_passage_hits: int = 100,
) -> Any:
    """Return pyserini's writer of a run file: a context manager with `write(qid, hits)`.

    Parameters
    ----------
    path
        The run file; its folder is made.
    output_format
        One of `OUTPUT_FORMATS`.
    hits
        How many hits a query at most.
    tag
        The name of the run in its last column (TREC format).
    topics
        The topics by qid, for KILT's format only.
    max_passage
        Write the best passage of each document only: docids are `document#passage`, and `document` is written.
    max_passage_delimiter
        What stands between document and passage in a docid.
    max_passage_hits
        How many documents a query at most, in place of `hits`.
    """
    writers = load("pyserini.output_writer")
    return writers.get_output_writer(
        os.fspath(path),
        writers.OutputFormat(output_format),
        "w",
        max_hits=hits,
        tag=tag,
        topics=topics,
        use_max_passage=max_passage,
        max_passage_delimiter=max_passage_delimiter,
        max_passage_hits=max_passage_hits,
    )


def fuse(
    runs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    method: str,
    hits: int,
    *,
    alpha: float = 0.5,
    rrf_k: int = 60,
) -> None:
    """Fuse two runs with pyserini's fusion and write the result in TREC's format.

    Parameters
    ----------
    runs
        Two TREC files.
    output
        The file to write.
    method
        `interpolation`, of scores mapped to [0, 1] for each query, or `rrf`.
    hits
        Of each query, taken and written.
    alpha
        Weight of the first run in the interpolation.
    rrf_k
        The constant of reciprocal rank fusion.
    """
    tools, fusion = load("pyserini.trectools"), load("pyserini.fusion")
    read = [tools.TrecRun(filepath=os.fspath(run)) for run in runs]
    if method == "rrf":
        fused = fusion.reciprocal_rank_fusion(read, rrf_k=rrf_k, depth=hits, k=hits)
    else:
        scaled = [run.rescore(method=tools.RescoreMethod.NORMALIZE) for run in read]
        fused = fusion.interpolation(scaled, alpha=alpha, depth=hits, k=hits)
    fused.save_to_txt(os.fspath(output), tag=method)


def trec_eval(args: Sequence[str]) -> dict[str, float]:
    """Evaluate a run with the trec_eval that comes with pyserini.

    Parameters
    ----------
    args
        Those of `python -m pyserini.eval.trec_eval`: options, qrels (a file or a name), run.

    Returns
    -------
    dict
        The value over all queries of each metric, under the name that trec_eval prints, such as `ndcg_cut_10`.

    Raises
    ------
    RunError
        If the run is missing or empty, or trec_eval cannot use the files.
    TopicsError
        If the qrels are neither a file nor a known name.
    """
    if len(args) < 2:
        raise RunError("trec_eval needs qrels and a run file as its last two arguments")
    *options, qrels, run = args
    if not os.path.isfile(run) or os.path.getsize(run) == 0:
        raise RunError(f"{run}: no such run file, or an empty one")
    if not os.path.isfile(qrels):
        qrels = qrels_path_by_name(qrels)
    evaluate = load("pyserini.eval.trec_eval").trec_eval
    printed = io.StringIO()
    # It returns the last metric only, but prints all; where a file is not what it should be it raises all sorts.
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            evaluate(["trec_eval", *options, qrels, run])
        except Exception as error:
            print(type(error).__name__, error)
    values = re.findall(r"^(\S+)\s+all\s+(-?\d[\d.]*)$", printed.getvalue(), re.MULTILINE)
    if not values:
        lines = printed.getvalue().strip().split("\n")
        complaint = next((line for line in lines if line.startswith("trec_eval")), lines[-1])
        raise RunError(
            f"trec_eval cannot evaluate {run} against {qrels}: {complaint or 'it gives no value over all queries'}"
        )
    return {metric: float(value) for metric, value in values}

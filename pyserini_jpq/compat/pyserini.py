"""The one door to pyserini.

It finds a Java, starts the JVM, hides the differences between versions 1.6 and 2.x, and reports problems in one line.
Nothing here imports pyserini before it is called; the first call takes seconds, most of them for torch and the JVM.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pyserini_jpq.compat.loading import check_faiss, load
from pyserini_jpq.compat.topic_names import TOPICS_READERS, qrels_path_by_name, topics_by_name, topics_from_file
from pyserini_jpq.errors import EncoderError, RunError
from pyserini_jpq.trust.frames import read_encoded_queries

__all__ = ["TOPICS_READERS", "check_faiss", "qrels_path_by_name", "topics_by_name", "topics_from_file"]  # from there


def _class(module: str, name: str) -> Any:
    return getattr(load(module), name)


# Each returns a class of pyserini.
query_encoder_base = partial(_class, "pyserini.encode", "QueryEncoder")
faiss_searcher_base = partial(_class, "pyserini.search.faiss", "FaissSearcher")
dense_search_result = partial(_class, "pyserini.search.faiss", "DenseSearchResult")  # a hit: `docid`, `score`
prf_dense_search_result = partial(_class, "pyserini.search.faiss", "PrfDenseSearchResult")  # and `vectors`
average_prf = partial(_class, "pyserini.search.faiss", "DenseVectorAveragePrf")
rocchio_prf = partial(_class, "pyserini.search.faiss", "DenseVectorRocchioPrf")
lucene_searcher = partial(_class, "pyserini.search.lucene", "LuceneSearcher")
lucene_indexer = partial(_class, "pyserini.index.lucene", "LuceneIndexer")


def hybrid_searcher() -> Any:
    """Return the class `pyserini.search.hybrid.HybridSearcher`."""
    check_faiss()
    return _class("pyserini.search.hybrid", "HybridSearcher")


def index_texts(contents: Iterable[tuple[str, str]], folder: str | os.PathLike[str], threads: int = 1) -> Any:
    """Index pairs of docid and text with Lucene's defaults, and return a `LuceneSearcher` of the folder."""
    indexer = lucene_indexer()(os.fspath(folder), threads=threads)
    for docid, text in contents:
        indexer.add_doc_dict({"id": docid, "contents": text})
    indexer.close()
    return lucene_searcher()(os.fspath(folder))


def encoded_queries(folder_or_name: str) -> Any:
    """Return a `QueryEncoder` that looks up the vectors of known queries.

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
        path = Path(folder_or_name) / "embedding.pkl"
        if not path.is_file():
            raise EncoderError(f"{folder_or_name}: no embedding.pkl in it; pyserini.encode.query writes such a folder")
        encoder = encoder_class()
        encoder.embedding = encoder.embeddings = read_encoded_queries(path)  # as Pyserini 1 and 2 call it
        encoder.has_encoded_query = encoder.has_encoded_queries = True
        return encoder
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


def fuse(
    runs: Sequence[Mapping[str, Mapping[str, float]]], method: str, hits: int, *, alpha: float = 0.5, rrf_k: int = 60
) -> dict[str, dict[str, float]]:
    """Fuse two runs with pyserini's fusion.

    Parameters
    ----------
    runs
        Two, of scores by qid and docid. Ranks are those by score; documents of equal scores keep their order.
    method
        `interpolation`, of scores mapped to [0, 1] for each query, or `rrf`.
    hits
        Of each query, taken and returned.
    alpha
        Weight of the first run in the interpolation.
    rrf_k
        The constant of reciprocal rank fusion.

    Returns
    -------
    dict of str to dict of str to float
        Scores by qid and docid, best first.
    """
    tools, fusion = load("pyserini.trectools"), load("pyserini.fusion")
    # pyserini would read files by pandas, which makes a number of the qid `0001` and drops the docid `NA`.
    read = [tools.TrecRun.from_list(list(_trec_rows(run))) for run in runs]
    if method == "rrf":
        fused = fusion.reciprocal_rank_fusion(read, rrf_k=rrf_k, depth=hits, k=hits)
    else:
        scaled = [run.rescore(method=tools.RescoreMethod.NORMALIZE) for run in read]
        fused = fusion.interpolation(scaled, alpha=alpha, depth=hits, k=hits)
    found: dict[str, dict[str, float]] = {}
    columns = (fused.run_data[name] for name in ("topic", "docid", "score"))
    for qid, docid, score in zip(*columns, strict=True):
        found.setdefault(qid, {})[docid] = float(score)
    return found


def _trec_rows(run: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, str, str, int, float, str]]:
    for qid, scores in run.items():
        ranked = sorted(scores.items(), key=lambda hit: -hit[1])
        for rank, (docid, score) in enumerate(ranked, start=1):
            yield qid, "Q0", docid, rank, score, "run"


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

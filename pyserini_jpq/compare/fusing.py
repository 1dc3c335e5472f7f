"""Hybrid rows: the reference's run and BM25's, fused by Pyserini."""

from pathlib import Path

from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.evaluate.runs import run_name
from pyserini_jpq.files import write_text_atomically

ALPHA = 0.5
"""Weight of the reference in the interpolation, of scores that are mapped to [0, 1] for each query."""

RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack et al., SIGIR 2009), Pyserini's default."""


def fused(run: Path, bm25: Path, folder: Path, hits: int) -> list[tuple[str, Path]]:
    """Write the fusions of two runs.

    Parameters
    ----------
    run, bm25
        TREC files.
    folder
        Where the fusions go.
    hits
        Of each query.

    Returns
    -------
    list of (str, Path)
        Title and file of each.
    """
    found = []
    runs = [read_run(str(file)) for file in (run, bm25)]
    for title, method in ((f"+ BM25, interpolated {ALPHA}", "interpolation"), ("+ BM25, reciprocal rank", "rrf")):
        file = folder / f"run.{method}.txt"
        both = pyserini.fuse(runs, method, hits, alpha=ALPHA, rrf_k=RRF_K)
        # All digits: those of reciprocal ranks differ in the seventh and later ones.
        lines = (
            f"{qid} Q0 {docid} {rank} {score!r} {method}\n"
            for qid, scores in both.items()
            for rank, (docid, score) in enumerate(scores.items(), start=1)
        )
        write_text_atomically(file, "".join(lines))
        found.append((f"{run_name(run)} {title}", file))
    return found

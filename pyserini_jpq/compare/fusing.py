"""Hybrid rows: the reference's run and BM25's, fused by Pyserini."""

from pathlib import Path

from pyserini_jpq.compat import pyserini

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
    for title, method in ((f"+ BM25, interpolated {ALPHA}", "interpolation"), ("+ BM25, reciprocal rank", "rrf")):
        file = folder / f"run.{method}.txt"
        pyserini.fuse([run, bm25], file, method, hits, alpha=ALPHA, rrf_k=RRF_K)
        found.append((f"{run.name.removeprefix('run.').removesuffix('.txt')} {title}", file))
    return found

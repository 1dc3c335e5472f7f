"""A t-SNE picture of one query, its positives, and the negatives of each way to sample them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pyserini_jpq.compare.pages import Image
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.evaluate.figures import new_figure, save
from pyserini_jpq.evaluate.table import plain
from pyserini_jpq.quantizer import Floats

EACH = 50
"""Negatives of each kind."""

_MOST_POSITIVES = 50
# Colours of Okabe and Ito; each kind has a shape of its own, too.
_STYLES = {
    "random negatives": ("#999999", "."),
    "negatives of BM25": ("#E69F00", "v"),
    "negatives of the uncompressed index": ("#56B4E9", "s"),
    "negatives of the compressed index": ("#D55E00", "^"),
    "positives": ("#009E73", "o"),
}


def samples(
    qid: str,
    qrels: Mapping[str, Mapping[str, int]],
    hits: Mapping[str, Sequence[str]],
    docids: Sequence[str],
    seed: int,
) -> dict[str, list[str]]:
    """Return the docids of each kind for one query; a document counts for the last kind that has it.

    Parameters
    ----------
    qid
        The query.
    qrels
        Grades by qid and docid.
    hits
        Ranked docids of the query, by kind of negative.
    docids
        All.
    seed
        Of the random negatives.
    """
    known = set(docids)
    positives = [docid for docid, grade in qrels[qid].items() if grade > 0 and docid in known][:_MOST_POSITIVES]
    chosen = np.random.default_rng(seed).choice(len(docids), min(EACH, len(docids)), replace=False)
    kinds = {"random negatives": [docids[row] for row in chosen], **hits}
    relevant = {docid for docid, grade in qrels[qid].items() if grade > 0}
    found = {kind: [d for d in listed if d not in relevant and d in known][:EACH] for kind, listed in kinds.items()}
    found["positives"] = positives
    owner = {docid: kind for kind in _STYLES for docid in found.get(kind, [])}
    return {kind: [d for d in found[kind] if owner[d] == kind] for kind in _STYLES if kind in found}


def draw(
    query: Floats,
    kinds: Mapping[str, Sequence[str]],
    embeddings: Embeddings,
    docids: Sequence[str],
    title: str,
    path: Path,
    seed: int,
) -> list[Image]:
    """Draw the query and the documents of each kind in two dimensions; without scikit-learn, nothing.

    Parameters
    ----------
    query
        [D] float32, of the encoder of the compressed index.
    kinds
        As `samples` returns them.
    embeddings, docids
        Of all documents.
    title
        The query's text.
    path
        The PNG.
    seed
        Of t-SNE.
    """
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError:
        return []
    row_of = {docid: row for row, docid in enumerate(docids)}
    rows = [row_of[docid] for listed in kinds.values() for docid in listed]
    if len(rows) < 5:
        return []
    vectors = np.concatenate([query[None], embeddings.rows(np.array(rows))])
    spread = TSNE(perplexity=min(30, len(rows) / 4), random_state=seed, init="pca", n_jobs=1)
    with threadpool_limits(1):  # a few hundred points; threads would wait for each other
        places = spread.fit_transform(vectors)
    figure = new_figure((7.5, 6.0))
    axes = figure.add_subplot()
    start = 1
    for kind, listed in kinds.items():
        colour, marker = _STYLES[kind]
        x, y = places[start : start + len(listed)].T
        label = f"{kind} ({len(listed)})"
        axes.scatter(x, y, s=42, color=colour, marker=marker, label=label, edgecolors="black", linewidths=0.4)
        start += len(listed)
    axes.scatter(places[0, 0], places[0, 1], s=260, color="black", marker="*", label="query", zorder=5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(plain(title), fontsize=10, parse_math=False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    save(figure, path)
    caption = f"t-SNE of one query (“{title}”), its positives and the negatives of each sampling, by their embeddings"
    return [Image(path.name, f"{caption}; a document that several samplings have is shown once")]

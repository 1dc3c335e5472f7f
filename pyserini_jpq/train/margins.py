"""A cross-encoder scores made queries with their document and hard negatives, as in GPL (Wang et al., NAACL 2022)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pyserini_jpq.bars import Progress
from pyserini_jpq.data.collection import Document
from pyserini_jpq.encode.cross_encoder import CrossEncoder
from pyserini_jpq.encode.queries import QueryVectors
from pyserini_jpq.index.encoders import query_encoder_source
from pyserini_jpq.index.faiss_format import to_faiss
from pyserini_jpq.index.texts import documents_for
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.source import SourceIndex

_HITS, _NEGATIVES = 50, 10
"""Negatives of a query are drawn from its best hits."""
_BATCH, _LENGTH = 32, 350
_TEMPLATE = "{title} {text}"


def margin_scores(
    source: SourceIndex,
    corpus: str | Path | None,
    topics: Mapping[str, str],
    sources: Mapping[str, str],
    options: TrainOptions,
) -> dict[str, dict[str, float]]:
    """Return a cross-encoder's scores by query id and docid.

    Parameters
    ----------
    source
        The index, whose hits are the negatives.
    corpus
        The collection; None where the index keeps texts.
    topics, sources
        Queries, and the docid of the document that each was made of.
    options
        The cross-encoder (`margins`), the seed and the device.

    Raises
    ------
    EncoderError
        If an encoder cannot be loaded.
    """
    scorer = CrossEncoder(str(options.margins), options.device, _BATCH, _LENGTH, "--margins")
    chosen = _candidates(source, topics, sources, options)
    needed = {docid for docids in chosen.values() for docid in docids}
    texts = _texts(source, corpus, needed)
    return {
        qid: dict(zip(docids, scorer.scores(topics[qid], [texts[docid] for docid in docids]), strict=True))
        for qid, docids in Progress(chosen.items(), desc="scoring margins", unit=" queries", delay=2, leave=False)
    }


def _candidates(
    source: SourceIndex, topics: Mapping[str, str], sources: Mapping[str, str], options: TrainOptions
) -> dict[str, list[str]]:
    """Return the docids that are scored for each query: that of its document first."""
    encoder = QueryVectors(query_encoder_source(source.folder), options.device)
    index = to_faiss(source.quantizer, source.codes)
    _, hits = index.search(encoder.encode(list(topics.values())), min(_HITS, len(source.docids)))
    rng = np.random.default_rng(options.seed)
    return {
        qid: list(dict.fromkeys([sources[qid], *(source.docids[row] for row in rng.permutation(rows)[:_NEGATIVES])]))
        for qid, rows in zip(topics, hits, strict=True)
    }


def _texts(source: SourceIndex, corpus: str | Path | None, docids: set[str]) -> dict[str, str]:
    """Return the texts of documents by docid."""
    documents: list[Document] = []
    if corpus is None and source.texts is not None:
        documents = [source.texts[docid] for docid in docids]
    else:
        documents = list(documents_for(sorted(docids), corpus or ""))
    return {document.docid: document.render(_TEMPLATE) for document in documents}

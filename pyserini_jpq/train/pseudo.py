"""Training queries made of the documents themselves: titles, sentences, spans, and their rarest words."""

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pyserini_jpq.data.collection import Document
from pyserini_jpq.errors import TrainingError
from pyserini_jpq.index.texts import documents_for
from pyserini_jpq.train.options import TrainOptions
from pyserini_jpq.train.source import SourceIndex

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。!?])|\n+")
_WORD = re.compile(r"\w+")
_FEWEST, _MOST = 3, 24
"""Words of a sentence that is taken; the rest of a longer one is cut off."""
_WINDOW = 50
"""Words in a row among which the rarest are keywords."""

Rarity = Callable[[str], float]
Maker = Callable[[Document, random.Random, Rarity], str]


def title(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return the title."""
    return document.title


def sentence(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return a sentence of the text, cut where it is long."""
    found = [words for part in _SENTENCE.split(document.text) if len(words := part.split()) >= _FEWEST]
    return " ".join(chance.choice(found)[:_MOST]) if found else ""


def span(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return 4 to 12 words in a row from anywhere in the document."""
    words = _text(document).split()
    length = chance.randint(4, 12)
    start = chance.randint(0, max(0, len(words) - length))
    return " ".join(words[start : start + length])


def keywords(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return the 2 to 6 words of a passage that are rarest in the collection, as in a search box."""
    words = _WORD.findall(_text(document).lower())
    start = chance.randint(0, max(0, len(words) - _WINDOW))
    passage = list(dict.fromkeys(words[start : start + _WINDOW]))
    best = set(sorted(passage, key=lambda word: (-rarity(word), word))[: chance.randint(2, 6)])
    return " ".join(word for word in passage if word in best)


MAKERS: Mapping[str, Maker] = {"title": title, "sentence": sentence, "span": span, "keywords": keywords}
"""By the names in `PSEUDO_KINDS` of `options.py`."""


def pseudo_queries(
    documents: Sequence[Document], kinds: Sequence[str], seed: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Return queries by query id, and the docid of the document that each was made of.

    A document's queries depend on it and the seed only, but for the words that are rare in the collection. A query that
    several documents make, such as a copyright, asks for none of them and is left out.

    Parameters
    ----------
    documents
        The documents.
    kinds
        Names of `MAKERS`, each of which makes a query of a document, if it can; a name may stand there twice.
    seed
        Seed of what is chosen.
    """
    counts = Counter(word for document in documents for word in set(_WORD.findall(_text(document).lower())))
    rarity = partial(_rarity, counts, len(documents))
    topics: dict[str, str] = {}
    sources: dict[str, str] = {}
    for document in documents:
        for number, kind in enumerate(kinds):
            chance = random.Random(hashlib.sha256(f"{seed} {number} {document.docid}".encode()).digest())
            if query := " ".join(MAKERS[kind](document, chance, rarity).split()):
                qid = f"{kind}{number}.{document.docid}"
                topics[qid], sources[qid] = query, document.docid
    makers = Counter(query for query, _ in {(topics[qid], sources[qid]) for qid in topics})
    topics = {qid: query for qid, query in topics.items() if makers[query] == 1}
    return topics, {qid: sources[qid] for qid in topics}


def made_queries(
    source: SourceIndex, corpus: str | Path | None, options: TrainOptions
) -> tuple[dict[str, str], dict[str, str]]:
    """Return queries made of a sample of an index's documents, as `pseudo_queries`.

    Parameters
    ----------
    source
        The index.
    corpus
        The collection, by path or name; None where the index keeps texts.
    options
        Number and kinds of the queries, or their generator, and the seed.

    Raises
    ------
    TrainingError
        If there are no texts, or no query can be made of them.
    CollectionError
        If the collection lacks a document of the sample.
    """
    documents = sampled(source, corpus, options)
    if options.generator is not None:
        from pyserini_jpq.train.generator import generated_queries

        topics, sources = generated_queries(documents, options)
    else:
        topics, sources = pseudo_queries(documents, options.kinds, options.seed)
    if not topics:
        raise TrainingError("no query can be made of the documents: they have no words; give --topics")
    return topics, sources


def sampled(source: SourceIndex, corpus: str | Path | None, options: TrainOptions) -> list[Document]:
    """Return a random sample of the documents that makes about `pseudo_queries` queries."""
    if corpus is None and source.texts is None:
        raise TrainingError(
            f"{source.folder.path} keeps no texts to make queries of: give --topics, or the collection with --corpus, "
            f"or keep its texts (`python -m pyserini_jpq.index --index {source.folder.path} --texts CORPUS`)"
        )
    count = min(len(source.docids), -(-options.pseudo_queries // len(options.kinds)))
    rows = np.sort(np.random.default_rng(options.seed).choice(len(source.docids), count, replace=False))
    docids = [source.docids[row] for row in rows]
    if corpus is None and source.texts is not None:
        return [source.texts[docid] for docid in docids]
    found = {document.docid: document for document in documents_for(docids, corpus or "")}
    return [found[docid] for docid in docids]


def _rarity(counts: Mapping[str, int], documents: int, word: str) -> float:
    """Return the inverse document frequency of a word; 0 for one that a single document has, often a misprint."""
    return math.log(documents / counts[word]) if counts[word] > 1 and len(word) > 1 else 0.0


def _text(document: Document) -> str:
    return f"{document.title} {document.text}"

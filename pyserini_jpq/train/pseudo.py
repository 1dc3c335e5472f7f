"""Training queries made of the documents themselves: titles, sentences, spans, and their rarest words."""

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pyserini_jpq.data.collection import Document

_SENTENCE = re.compile(r"(?<=[.!?。!?])\s+|\n+")
_WORD = re.compile(r"\w+")
_FEWEST, _MOST = 3, 24
"""Words of a query that is taken as it stands."""

Rarity = Callable[[str], float]


def title(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return the title."""
    return document.title


def sentence(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return a sentence, cut where it is long."""
    found = [words for part in _SENTENCE.split(document.text) if len(words := part.split()) >= _FEWEST]
    return " ".join(chance.choice(found)[:_MOST]) if found else ""


def span(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return 4 to 12 words in a row from anywhere in the document."""
    words = f"{document.title} {document.text}".split()
    length = chance.randint(4, 12)
    start = chance.randint(0, max(0, len(words) - length))
    return " ".join(words[start : start + length])


def keywords(document: Document, chance: random.Random, rarity: Rarity) -> str:
    """Return the 2 to 6 words of a passage of the document that are rarest in the collection, as in a search box."""
    words = _WORD.findall(f"{document.title} {document.text}".lower())
    start = chance.randint(0, max(0, len(words) - 50))
    part = list(dict.fromkeys(words[start : start + 50]))
    best = set(sorted(part, key=lambda word: (-rarity(word), word))[: chance.randint(2, 6)])
    return " ".join(word for word in part if word in best)


KINDS: Mapping[str, Callable[[Document, random.Random, Rarity], str]] = {
    "title": title,
    "sentence": sentence,
    "span": span,
    "keywords": keywords,
}


def pseudo_queries(
    documents: Sequence[Document], kinds: Sequence[str], seed: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Return queries by query id, and the document that each was made of.

    A document's queries depend on it and the seed only, but for the words that are rare in the collection.

    Parameters
    ----------
    documents
        The documents.
    kinds
        Names of `KINDS`; each makes a query of a document, if it can.
    seed
        Seed of what is chosen.
    """
    counts = Counter(word for d in documents for word in set(_WORD.findall(f"{d.title} {d.text}".lower())))
    rarity = partial(_rarity, counts, len(documents))
    topics: dict[str, str] = {}
    sources: dict[str, str] = {}
    for document in documents:
        for number, kind in enumerate(kinds):
            chance = random.Random(hashlib.sha256(f"{seed} {number} {document.docid}".encode()).digest())
            query = " ".join(KINDS[kind](document, chance, rarity).split())
            if query:
                qid = f"{kind}{number}.{document.docid}"
                topics[qid], sources[qid] = query, document.docid
    return topics, sources


def _rarity(counts: Mapping[str, int], documents: int, word: str) -> float:
    """Return the inverse document frequency of a word; 0 for one that a single document has, often a misprint."""
    return math.log(documents / counts[word]) if counts[word] > 1 and len(word) > 1 else 0.0

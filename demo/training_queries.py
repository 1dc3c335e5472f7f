"""Training queries for the demo, derived from its collection: what documentation says, put as programmers ask.

Each query comes from one document and is written in one of the styles below; its relevant documents are that document
and those that say the same. The questions in `questions/` are not read here.
"""

import hashlib
import itertools
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.docstrings import Docstring, parse
from demo.phrasing import questions, reworded
from demo.python_docs import DOCUMENTS, read_collection
from pyserini_jpq.errors import TopicsError

TOPICS = "topics.train.tsv"
QRELS = "qrels.train.txt"

MIN_WORDS, MAX_WORDS = 2, 24
MAX_RELEVANT = 8  # a wording that more documents share asks for none of them
SAME = 0.8  # Jaccard similarity of the words and word pairs of two summaries from which on both documents answer

# How sentences begin that mean little without what stands before them.
_DEPENDENT = re.compile(
    r"(?:it|they|these|those|this|that|note|see|deprecated|don't|do not|however|for|the default|default)\b"
    r"|(?:such|but|so|also)\b",
    re.IGNORECASE,
)
_COMMON = """
a an the of to in on for from by with at as is are be been was were it its this that these those and or not if
when then than will can may should must do does has have had which who what how into out up any all each one
same use used using return returns get set object objects given self e g i s t
"""
_STOPWORDS = frozenset(_COMMON.split())


@dataclass(frozen=True)
class Source:
    """A document with what queries are made from; `rarity` is the inverse document frequency of a word."""

    docid: str
    said: Docstring
    rarity: Callable[[str], float]


def _summary(source: Source, chance: random.Random) -> list[str]:
    return questions(source.said.sentences[0], chance) if source.said.sentences else []


def _reworded(source: Source, chance: random.Random) -> list[str]:
    plain = _summary(source, chance)
    return [query for query in (reworded(asked, chance, rate=0.7) for asked in plain) if query not in plain]


def _named(source: Source, chance: random.Random) -> list[str]:
    """Put the name in words, with its class or module: "dict reader csv"."""
    *context, last = [split_name(part) for part in source.docid.split(".")]
    context = [part for part in context[-2:] if part != last]
    found = [f"{last} {context[-1]}", f"{context[-1]} {last}", f"{' '.join(context)} {last}"] if context else []
    return chance.sample(found, len(found))


def _keywords(source: Source, chance: random.Random) -> list[str]:
    """Take the rarest words of the first sentences, in their order, as in a search box."""
    found = list(dict.fromkeys(content_words(" ".join(source.said.sentences[:3]))))
    length = chance.randint(3, 5)
    if len(found) < 3:
        return []
    best = set(sorted(found, key=lambda word: (-source.rarity(word), word))[: length + 1])
    kept = [word for word in found if word in best][:length]
    return [" ".join(kept), " ".join(chance.sample(kept, len(kept)))]


def _later(source: Source, chance: random.Random) -> list[str]:
    """Rephrase a later sentence, one of those that say something of their own."""
    telling = [
        said for said in source.said.sentences[1:8] if len(content_words(said)) >= 4 and not _DEPENDENT.match(said)
    ]
    return [query for sentence in chance.sample(telling, len(telling)) for query in questions(sentence, chance)[:1]]


def _parameter(source: Source, chance: random.Random) -> list[str]:
    """Tell what a parameter is for, after the name of what takes it."""
    last = split_name(source.docid.rpartition(".")[2])
    described = chance.sample(source.said.parameters, len(source.said.parameters))
    return [f"{last} {' '.join(said.rstrip('.').split()[:12])}" for _, said in described]


STYLES: dict[str, Callable[[Source, random.Random], list[str]]] = {
    "summary": _summary,
    "reworded": _reworded,
    "keywords": _keywords,
    "later": _later,
    "named": _named,
    "parameter": _parameter,
}


def write_training_queries(
    folder: str | Path,
    *,
    seed: int = 42,
    per_document: int = 3,
    styles: tuple[str, ...] = tuple(STYLES),
    limit: int | None = None,
) -> int:
    """Write `folder/topics.train.tsv` and `folder/qrels.train.txt` for `folder/documents.jsonl`.

    Parameters
    ----------
    folder
        Where `write_collection` wrote.
    seed
        The same seed and collection give the same files.
    per_document
        Queries made of a document, at most; there are fewer where a docstring is short.
    styles
        Which of `STYLES` to use, in this order, in turn until there are `per_document` queries.
    limit
        Keep that many queries in all, chosen at random.

    Returns
    -------
    int
        The number of queries.

    Raises
    ------
    CollectionError
        There is no collection in the folder.
    TopicsError
        A style is unknown, or no query came out.
    """
    folder = Path(folder)
    if unknown := [style for style in styles if style not in STYLES]:
        raise TopicsError(f"training queries: no style {unknown[0]!r}; choose from {', '.join(STYLES)}")
    topics = training_topics(read_collection(folder), seed=seed, per_document=per_document, styles=styles)
    if limit is not None and limit < len(topics):
        topics = random.Random(seed).sample(topics, limit)
    if not topics:
        raise TopicsError(
            f"{folder / DOCUMENTS}: no training queries came out of it; raise per_document, limit or styles"
        )
    names = [f"t{number:06d}" for number in range(1, len(topics) + 1)]
    with (folder / TOPICS).open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{qid}\t{query}\n" for qid, (query, _) in zip(names, topics, strict=True))
    with (folder / QRELS).open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(
            f"{qid} 0 {docid} 1\n" for qid, (_, docids) in zip(names, topics, strict=True) for docid in docids
        )
    return len(topics)


def training_topics(
    documents: list[dict[str, str]], *, seed: int, per_document: int, styles: tuple[str, ...]
) -> list[tuple[str, list[str]]]:
    """Return (query, relevant docids) for a collection, in the order of the documents."""
    sources = _sources(documents)
    alike = _alike(sources)
    dotted = {document["id"].lower() for document in documents}
    asked: dict[str, list[str]] = {}
    for source in sources:
        # A generator of its own for each document: one document more does not change the queries of the others.
        chance = random.Random(hashlib.sha256(f"{seed} {source.docid}".encode()).digest())
        for query in _queries(source, styles, per_document, chance):
            if query not in dotted:
                asked.setdefault(query, []).extend(alike[source.docid])
    return [(query, sorted(set(docids))) for query, docids in asked.items() if len(set(docids)) <= MAX_RELEVANT]


def _queries(source: Source, styles: tuple[str, ...], count: int, chance: random.Random) -> list[str]:
    """Take from the styles in turn until there are enough, no query twice."""
    offers = [[tidy(query) for query in STYLES[style](source, chance)] for style in styles]
    taken: list[str] = []
    for turn in range(max(map(len, offers), default=0)):
        for offer in offers:
            if len(taken) < count and turn < len(offer) and offer[turn] not in taken and offer[turn]:
                taken.append(offer[turn])
    return taken


def _sources(documents: list[dict[str, str]]) -> list[Source]:
    said = {document["id"]: parse(document["text"]) for document in documents}
    frequency = Counter(word for document in documents for word in set(content_words(document["text"])))

    def rarity(word: str) -> float:
        return math.log(len(documents) / (frequency[word] or 1)) if frequency[word] > 1 else 0.0  # once: a misprint

    return [Source(docid, docstring, rarity) for docid, docstring in said.items()]


def _alike(sources: list[Source]) -> dict[str, list[str]]:
    """Map each docid to those whose summaries say the same, itself among them."""
    words = {source.docid: _words_and_pairs(" ".join(source.said.sentences[:1])) for source in sources}
    holders = defaultdict(list)
    for docid, own in words.items():
        for word in own:
            holders[word].append(docid)
    alike = {}
    for docid, own in words.items():
        near = {docid}
        if len(own) >= 5:  # three words and their pairs
            rarest = sorted(own, key=lambda word: (len(holders[word]), word))[: math.floor(len(own) * (1 - SAME)) + 1]
            shared = {other for word in rarest for other in holders[word]}
            near |= {other for other in shared if len(own & words[other]) >= SAME * len(own | words[other])}
        alike[docid] = sorted(near)
    return alike


def _words_and_pairs(text: str) -> frozenset[str]:
    words = content_words(text)
    return frozenset(words).union(f"{left} {right}" for left, right in itertools.pairwise(words))


def split_name(name: str) -> str:
    """Return a name in lower-case words: "DictReader" and "dict_reader" give "dict reader"."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_", " ", name).lower().split())


def content_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without those that every text has."""
    return [
        word
        for word in re.findall(r"[a-z0-9_]*[a-z][a-z0-9_]*", text.lower())
        if len(word) > 1 and word not in _STOPWORDS
    ]


def tidy(query: str) -> str:
    """Return a query in lower case on one line, or an empty string where it is too short, too long or no words."""
    text = " ".join(re.sub(r"[\"`]|(?<!\w)'|'(?!\w)", "", query.lower()).split()).strip(" .,;:")
    words = text.split()
    wordy = sum(bool(re.fullmatch(r"[a-z][a-z'-]*[,]?", word)) for word in words) >= 0.7 * len(words)
    return text if MIN_WORDS <= len(words) <= MAX_WORDS and wordy else ""

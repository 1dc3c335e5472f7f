"""The part of a text that answers a query best, with the query's words marked."""

import re
from collections.abc import Iterator

_WORD = re.compile(r"\w+")
_LENGTH = 280
_READ = 20_000
"""Most characters of a text that are looked at."""
_COMMON = frozenset(
    [
        *("a", "an", "and", "are", "as", "at", "be", "by", "do", "does", "for", "from", "how", "in", "is", "it", "of"),
        *("on", "or", "that", "the", "to", "was", "what", "when", "where", "which", "who", "why", "with"),
    ]
)


def words_of(query: str) -> set[str]:
    """Return the words of a query to mark, in lower case: without the commonest of English, unless it has no others."""
    words = {word.casefold() for word in _WORD.findall(query)}
    return words - _COMMON or words


def snippet(text: str, words: set[str], length: int = _LENGTH) -> list[tuple[str, bool]]:
    """Return parts of a text and whether each is a word of the query.

    Parameters
    ----------
    text
        The text.
    words
        Words in lower case.
    length
        Most characters, but for marks of what was left out.
    """
    text = " ".join(text[:_READ].split())
    start = _best(text, words, length)
    end = len(text) if len(text) - start <= length else _boundary(text, start + length)
    parts = list(marked(text[start:end], words))
    return [*([("… ", False)] if start else []), *parts, *([(" …", False)] if end < len(text) else [])]


def marked(text: str, words: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text, and whether each is one of the words."""
    done = 0
    for match in _WORD.finditer(text):
        if match.group().casefold() in words:
            if match.start() > done:
                yield text[done : match.start()], False
            yield match.group(), True
            done = match.end()
    if done < len(text):
        yield text[done:], False


def _best(text: str, words: set[str], length: int) -> int:
    """Return where the passage with the most different words begins, at a word."""
    places = [(m.start(), m.group().casefold()) for m in _WORD.finditer(text) if m.group().casefold() in words]
    best, most, last = 0, 0, 0
    count: dict[str, int] = {}
    for start, word in places:
        count[word] = count.get(word, 0) + 1
        while start - places[last][0] > length - 40:
            first = places[last][1]
            count[first] -= 1
            if not count[first]:
                del count[first]
            last += 1
        if len(count) > most:
            best, most = places[last][0], len(count)
    return 0 if best < length // 2 else _boundary(text, best - 30)


def _boundary(text: str, place: int) -> int:
    """Return the beginning of a word at or after a place, but not far from it."""
    space = text.find(" ", place, place + 30)
    return place if space < 0 else space + 1

"""Takes docstrings apart: the sentences of their prose, and what they say of each parameter."""

import re
from dataclasses import dataclass

_ARROW = re.compile(r"\s*(?:--?>|=>|→)\s*")
_SIGNATURE = re.compile(r"^[\w.\[\]]*\w\s*\([^()]*(?:\([^()]*\)[^()]*)*\)")
_PARAMETER = re.compile(
    r"^\s*(?:[-*]\s*)?(?::?param\s+|:)?[`*]*([a-z_]\w*)[`*]*(?:\s*\([^)]*\))?\s*(?::|--?|\s=\s)\s+(\S.*)$"
)
_SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)[.!?][)\"']?\s+(?=[A-Z\"'(`*])")
_NOT_PROSE = re.compile(r"^\s*(>>>|\.\.\. |#|\$|[-*+=~^]{3,})")
_MARKUP = [
    (re.compile(r":\w+:`([^`]*)`"), r"\1"),
    (re.compile(r"``?([^`]*)`?`"), r"\1"),
    (re.compile(r"\*(\w+)\*"), r"\1"),
]
_NO_PARAMETER = re.compile("notes?|examples?|usage|returns?|raises|warning|see|args|arguments|e|g")


@dataclass(frozen=True)
class Docstring:
    """What a docstring says: `sentences` in order, the first is the summary; `parameters` as (name, description)."""

    sentences: list[str]
    parameters: list[tuple[str, str]]


def parse(text: str) -> Docstring:
    """Take a cleaned docstring apart; signatures, examples and markup are dropped."""
    sentences: list[str] = []
    parameters: list[tuple[str, str]] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        if any(_NOT_PROSE.match(line) for line in lines):
            continue
        prose: list[str] = []
        for line in lines:
            found = _PARAMETER.match(line)
            if found and not _NO_PARAMETER.fullmatch(found[1]) and len(found[2].split()) >= 3:
                parameters.append((found[1], _plain(found[2])))
            else:
                prose.append(re.sub(r"^:?returns?:\s*", "Return ", line.strip()))
        sentences += _sentences(_without_signatures(prose))
    return Docstring(sentences, parameters)


def _without_signatures(lines: list[str]) -> str:
    """Join lines, leaving out calls such as `zip(*iterables) --> Yield tuples`, of which the words stay."""
    kept = []
    for line in lines:
        signature = _SIGNATURE.match(line)
        if signature is None:
            kept.append(line)
            continue
        rest = line[signature.end() :]
        arrow = _ARROW.match(rest)
        if arrow or not rest or rest[0] in ":.":
            rest = rest[arrow.end() :] if arrow else rest.lstrip(":. ")
            kept.append(re.sub(r"^[\w\[\], ]{1,12}(?:,|--?|\.|$)\s+", "", rest))
        else:
            kept.append(line)
    return " ".join(line for line in kept if len(line.split()) > 1 or line.endswith("."))


def _sentences(prose: str) -> list[str]:
    plain = _plain(prose)
    return [part.strip() for part in _SENTENCE_END.split(plain) if len(part.split()) >= 2]


def _plain(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())

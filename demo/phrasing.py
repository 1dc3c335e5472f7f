"""Turns what documentation says ("Return the size of a file.") into what people type ("how to get the size of it")."""

import random
import re

# Verbs with which summaries begin, uninflected.
_VERBS = """
abbreviate abort accept access acknowledge acquire add adjust advance allocate allow append apply arrange assert
assign attach attempt begin bind block break build cache calculate call cancel cast change check choose clean clear
clone close collapse collect combine compare compile complain complete compose compress compute concatenate
configure connect construct control convert copy count create deactivate deal decode decompress define delete
deliver deserialize destroy detach determine disable discard display divide download draw dump duplicate emit enable
encode encrypt enforce ensure enter enumerate escape establish evaluate examine execute exit expand extend extract
feed fetch fill filter find finish flush force fork format free generate get give group guess handle hash help hide
identify implement import increase indicate initialize insert inspect install instantiate interpret invoke issue
iterate join keep kill lay leave list listen load locate lock log look lookup make manage map mark match merge
modify monitor move multiply negotiate normalize notify obtain open override pack pad parse partition pass pause
peek perform pickle pop pretty-print prevent print process produce prompt provide push put query quote raise read
rebuild receive record redirect reduce refresh register release reload remove rename render repeat replace report
represent request reset resize resolve restore resume retrieve return reverse rotate round run save scan schedule
search seek select send serialize serve set setup show shuffle shut shutdown signal skip sleep sort specify split
start stop store strip subclass subtract suppress suspend swap synchronize take tell terminate test transfer
transform translate traverse truncate try turn undo uninstall unlock unpack unregister update upgrade upload use
validate verify visit wait wake walk wrap write yield zip
"""
VERBS = frozenset(_VERBS.split())

# What programmers say for what the documentation says; one direction suffices, the other is in the documents.
_SYNONYMS = """
directory: folder; directories: folders; remove: delete, get rid of; delete: remove; create: make, build;
construct: build, create; retrieve: get, fetch; obtain: get; execute: run; invoke: call; convert: turn, transform;
string: text, str; strings: texts; iterable: list, sequence; mapping: dictionary; dictionary: dict; dict: dictionary;
integer: int, whole number; floating-point: decimal; pathname: path, file name; filename: file name; raise: throw;
callable: function; terminate: end, kill; determine: find out; compute: calculate; print: show, display;
display: show; parse: read, interpret; argument: parameter; arguments: parameters, args; specified: given;
element: item, entry; elements: items; concatenate: join; append: add; insert: add, put; replace: substitute, swap;
decompress: uncompress, unpack; serialize: save, dump; exception: error; suspend: pause; coroutine: async function;
asynchronous: async; subprocess: child process; copy: duplicate; locate: find; begin: start; equal: the same;
largest: biggest
"""
SYNONYMS = {
    word.strip(): [other.strip() for other in others.split(",")]
    for word, _, others in (entry.partition(":") for entry in _SYNONYMS.split(";"))
}

_TRUTH = re.compile(
    r"^(?:returns? )?(?:true|1|non-zero|a boolean|whether)(?: or false)?\s+"
    r"(?:if and only if|iff|if|when|whether|for)?\s*",
    re.IGNORECASE,
)
_OTHERWISE = re.compile(
    r"[,;]?\s*(?:\b(?:and|or|else|otherwise)\b,?\s*(?:return(?:s|ing)?\s+)?(?:false|none|0)\b.*"
    r"|\botherwise\b.*|\bfalse otherwise.*)$",
    re.IGNORECASE,
)
_RETURN = re.compile(r"^(?:returns?|gives?|yields?|produces?)\s+(?:a tuple (?:of|containing)\s+)?", re.IGNORECASE)
_RAISED = re.compile(
    r"^(?:raised|exception (?:raised|class raised)|error raised)\s+(?:when|if|by|for|to)\s+", re.IGNORECASE
)
_CLASS = re.compile(
    r"^(?:(?:this|an?|the)\s+)?(?:\w+\s+)?(?:class|function|decorator|context manager|method|module|object)(?:es)?\s+"
    r"(?:that|which|to|for|used to|of)\s+",
    re.IGNORECASE,
)
_LEAD = re.compile(r"^(?:the|an?|this|some|any)\s+", re.IGNORECASE)
_ASIDE = re.compile(r"\s*[(\[][^()\[\]]*[)\]]")
_CLAUSE = re.compile(
    r"(?:;|: | -- |, (?:which|where|or|and|but|as|if|so|with|using)\b|\b(?:as described|see also|such as)\b).*$"
)
_DANGLING = re.compile("the|an?|of|to|in|for|and|or|with|is|by|as|if|that|which|are|from|on|at")
_DETERMINERS = frozenset(("a", "an", "the", "all", "any", "its", "this", "each"))
MAX_WORDS = 16


def uninflected(word: str) -> str | None:
    """Return the plain form of a verb that a summary may begin with ("Creates" gives "create"), else None."""
    lower = word.lower()
    forms = [lower, lower.removesuffix("s"), lower.removesuffix("es")]
    if lower.endswith("ies"):
        forms.append(lower[:-3] + "y")
    if lower.endswith("ing"):
        forms += [lower[:-3], lower[:-3] + "e", lower[:-4]]
    return next((form for form in forms if form in VERBS), None)


def _unknown_verb(first: str, rest: str) -> str | None:
    """Return "compose" for "Composes the ...": what stands before a determiner and ends like a verb is one."""
    if rest.partition(" ")[0].lower() in _DETERMINERS and re.fullmatch(r"[A-Z]?[a-z]{2,}[^su\W]s", first):
        return first.lower()[:-1]
    return None


def questions(sentence: str, chance: random.Random) -> list[str]:
    """Return ways to ask for what a sentence of documentation describes: bare first, the others in an order by chance.

    Those who ask a documentation of Python leave out "how to" and "in python" more often than not.

    Parameters
    ----------
    sentence
        One sentence, without markup.
    chance
        Decides between equally good wordings; the same state gives the same questions.
    """
    text = _shorten(sentence)
    if truth := _TRUTH.match(text):
        clause = _OTHERWISE.sub("", text[truth.end() :]).strip()
        return _filled(clause, ["check if {}", "how to tell whether {}", "test if {}", "find out if {}"], chance)
    text = _OTHERWISE.sub("", text).strip(" ,")
    if raised := _RAISED.match(text):
        return _filled(text[raised.end() :], ["error when {}", "exception for {}", "what is thrown if {}"], chance)
    if returned := _RETURN.match(text):
        what = _LEAD.sub("", text[returned.end() :])
        return _filled(what, ["{}", "get {}", "how to get the {}", "how do i find {}", "obtain {}"], chance)
    if named := _CLASS.match(text):
        text = text[named.end() :]
    first, _, rest = text.partition(" ")
    if (verb := uninflected(first) or _unknown_verb(first, rest)) and rest:
        return _filled(f"{verb} {rest}", ["{}", "how to {}", "how do i {}", "{} in python", "way to {}"], chance)
    return _filled(_LEAD.sub("", text), ["{}", "what is {}", "{} in python", "python {}"], chance)


def reworded(query: str, chance: random.Random, rate: float = 0.4) -> str:
    """Replace some words of a query by what programmers say instead."""
    words = query.split()
    return " ".join(chance.choice(SYNONYMS[w]) if w in SYNONYMS and chance.random() < rate else w for w in words)


def _shorten(sentence: str) -> str:
    """Drop asides and later clauses until a sentence has the length of a question."""
    text = _ASIDE.sub("", sentence).strip(" .:;,!?-")
    if len(text.split()) > MAX_WORDS // 2:
        text = _CLAUSE.sub("", text).strip(" ,.") or text
    words = text.split()
    if len(words) > MAX_WORDS:
        words = words[:MAX_WORDS]
        while _DANGLING.fullmatch(words[-1].lower()):
            words.pop()
    return " ".join(words)


def _filled(what: str, templates: list[str], chance: random.Random) -> list[str]:
    """Put what is asked for into the templates, the bare one first, the others in an order by chance."""
    what = what.strip(" ,.;:")
    if len(what.split()) < 2:
        return []
    if not what[:2].isupper():
        what = what[0].lower() + what[1:]
    shuffled = chance.sample(templates, len(templates))
    return [template.format(what) for template in sorted(shuffled, key=lambda template: template != "{}")]

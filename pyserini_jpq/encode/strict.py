"""Weights loaded strictly: every one of a model comes from its file, or nothing is loaded."""

import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from pyserini_jpq import cli
from pyserini_jpq.errors import EncoderError, first_line

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
UNUSED = ("pooler.", "position_ids")
"""Parts of names of weights that no vector depends on: we pool tokens ourselves, and positions are counted."""


def load_strictly(load: Callable[..., Any], where: str, unused: Iterable[str] = UNUSED) -> Any:
    """Load a model of transformers, all of whose weights are in its files.

    Parameters
    ----------
    load
        A `from_pretrained`, with all arguments but those that concern strictness.
    where
        The folder or name, for errors.
    unused
        Parts of names that may be missing.

    Returns
    -------
    Any
        The model. Weights that stand behind a prefix (`module.`, `0.auto_model.`) are found there, which is said
        once; a pooler that the files lack, and that is not used, is zero, so that the same files give the same hash.

    Raises
    ------
    EncoderError
        If weights are missing, have other shapes, or belong to layers that the configuration does not have.
    """
    model, found = _load(load)
    if prefix := common_prefix(_needed(found["missing_keys"], unused), found["unexpected_keys"]):
        model, found = _load(load, key_mapping={f"^{re.escape(prefix)}": ""})
        # Else transformers would write the names back behind the prefix.
        vars(model).pop("_weight_conversions", None)
        cli.warn(f"the weights of {where} stand behind {prefix!r}, which was left out of their names")
    if missing := sorted(_needed(found["missing_keys"], unused)):
        raise EncoderError(
            f"{where} has no weights for {some_of(missing)}; copy it again, or name another that was trained whole"
        )
    if mismatched := sorted(str(entry[0]) for entry in found["mismatched_keys"]):
        raise EncoderError(f"{where} has weights of other shapes than its config.json says: {some_of(mismatched)}")
    if beyond := beyond_model(found["unexpected_keys"], model.state_dict()):
        raise EncoderError(f"{where} has weights for {some_of(beyond)}, which its config.json does not count")
    for name in found["missing_keys"]:
        if name in (state := model.state_dict()):
            state[name].zero_()
    return model


def load_with_tokenizer(kind: Any, name: str, flag: str, what: str, unused: Iterable[str] = UNUSED) -> tuple[Any, Any]:
    """Load a model strictly, and its tokenizer.

    Parameters
    ----------
    kind
        An `AutoModelFor…` of transformers.
    name, flag
        Name or folder, and the flag that gives it.
    what
        What it has to be, for errors.
    unused
        As in `load_strictly`.

    Raises
    ------
    EncoderError
        If either cannot be loaded, or weights are missing.
    """
    from transformers import AutoTokenizer

    try:
        # Code of others is never run, nor asked about.
        load = partial(kind.from_pretrained, name, trust_remote_code=False)
        model = load_strictly(load, f"{flag} {name}", unused)
        return model, AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except EncoderError:
        raise
    except Exception as problem:  # transformers, tokenizers and safetensors have many
        raise EncoderError(f"{flag} {name} is no {what} that can be loaded: {first_line(problem)}") from None


def some_of(names: Iterable[str]) -> str:
    """Return up to three names in a line, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def common_prefix(missing: Collection[str], unexpected: Collection[str]) -> str | None:
    """Return what stands before all missing names among the unexpected ones; None unless it is one and the same."""
    prefixes: set[str] | None = None
    for name in missing:
        before = {other.removesuffix(name) for other in unexpected if other.endswith(f".{name}")}
        prefixes = before if prefixes is None else prefixes & before
    return prefixes.pop() if prefixes and len(prefixes) == 1 else None


def beyond_model(unexpected: Iterable[str], known: Collection[str]) -> list[str]:
    """Return the unexpected names that are those of a model but for the number of a layer."""
    patterns = {_NUMBER.sub("#", name) for name in known if _NUMBER.search(name)}
    return sorted(n for n in unexpected if n not in known and any(_ends(_NUMBER.sub("#", n), p) for p in patterns))


def _ends(name: str, pattern: str) -> bool:
    return name == pattern or (name.startswith(("bert.", "roberta.", "model.")) and name.endswith(f".{pattern}"))


def _needed(missing: Iterable[str], unused: Iterable[str]) -> list[str]:
    return [name for name in missing if not any(f".{part}" in f".{name}" for part in unused)]


def _load(load: Callable[..., Any], **options: Any) -> tuple[Any, dict[str, Any]]:
    # Without ignore_mismatched_sizes transformers raises an error that says to look at a report, which is silenced.
    model, found = load(output_loading_info=True, ignore_mismatched_sizes=True, **options)
    return model, found

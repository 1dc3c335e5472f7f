"""Use an encoder of ours in Pyserini's own tools as its card says.

Pyserini picks the class of an encoder by a substring of its name ("ance" is in "balanced") and pools the first token
unless flags say otherwise: it would rank wrongly by an encoder with mean pooling, without a word. All of its tools
(searchers, commands, servers) end in a call of one of its encoder classes with a folder or a name. For those that are
ours, that call makes a `JPQQueryEncoder`; every other one is Pyserini's alone.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pyserini_jpq
from pyserini_jpq import cards, paths
from pyserini_jpq.errors import EncoderError


def is_ours(encoder: Any) -> bool:
    """Return whether this is a folder with our card, the name of one under `encoders/`, or the name of a card."""
    if not encoder or not isinstance(encoder, (str, os.PathLike)):
        return False
    folder, name = Path(encoder), os.fspath(encoder)
    if any((place / cards.ENCODER_FOLDER_CARD).is_file() for place in (folder, paths.ENCODERS / name)):
        return True
    return not folder.is_dir() and cards.has_card("encoders", name)


def load(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Execute the module `pyserini.encode._base`, then let its classes know our encoders."""
    execute(module)
    adopt(module)


def adopt(module: ModuleType) -> None:
    """Let the classes that derive from `QueryEncoder` and `DocumentEncoder` of this module know our encoders."""
    for base, make in ((module.QueryEncoder, _query_encoder), (module.DocumentEncoder, _document_encoder)):
        base.__new__ = staticmethod(make)


def _query_encoder(cls: type, *args: Any, **kwargs: Any) -> Any:
    """Return a `JPQQueryEncoder` for an encoder of ours, else a new object of the class.

    The card decides on pooling, normalization, tokenizer and length: Pyserini fills in values of its own where a user
    gives none, so that what comes here does not say what was asked for. A prefix comes from users only.
    """
    given = _arguments_of_pyserini(cls, args, kwargs)
    if is_ours(given.get("model_name_or_path")):  # the classes of sparse encoders call it so
        raise EncoderError(
            f"{given['model_name_or_path']} encodes to dense vectors, which {cls.__name__} does not give; "
            "search a Faiss index with it"
        )
    if not is_ours(given.get("encoder_dir")):
        return object.__new__(cls)
    prefix = given.get("prefix")  # in Pyserini's notation: without the space behind it
    return pyserini_jpq.JPQQueryEncoder(
        given["encoder_dir"], device=given.get("device") or "cpu", prefix=prefix and f"{prefix} "
    )


def _document_encoder(cls: type, *args: Any, **kwargs: Any) -> Any:
    encoder = _arguments_of_pyserini(cls, args, kwargs).get("model_name")
    if is_ours(encoder):
        raise EncoderError(
            f"{encoder} is an encoder of pyserini_jpq, whose card {cls.__name__} does not read; "
            "encode documents by python -m pyserini_jpq.encode"
        )
    return object.__new__(cls)


def _arguments_of_pyserini(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return by name what a class of Pyserini is called with; nothing for classes that others derived."""
    if not cls.__module__.startswith("pyserini."):
        return {}
    try:
        bound = inspect.signature(cls.__init__).bind_partial(None, *args, **kwargs)  # type: ignore[misc]  # of a class
    except TypeError:
        return {}  # its own __init__ says what is wrong
    return {**bound.arguments, **kwargs}

"""Make Pyserini's own tools use an encoder of ours as its card says.

Pyserini picks the class of an encoder by a substring of its name ("ance" is in "balanced") and pools the first token
unless flags say otherwise; with an encoder that pools by the mean it would silently rank wrongly. All of its tools
(searchers, commands, servers) construct one of its encoder classes with a folder or a name. If that is an encoder of
ours, the constructor returns a `JPQQueryEncoder`; all others are left to Pyserini.
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
    """Execute the module `pyserini.encode._base`, then make its classes accept our encoders."""
    execute(module)
    adopt(module)


def adopt(module: ModuleType) -> None:
    """Make `QueryEncoder` and `DocumentEncoder` of this module, and what derives from them, accept our encoders."""
    for base, make in ((module.QueryEncoder, _query_encoder), (module.DocumentEncoder, _document_encoder)):
        base.__new__ = staticmethod(make)


def _query_encoder(cls: type, *args: Any, **kwargs: Any) -> Any:
    """Return a `JPQQueryEncoder` for an encoder of ours, else a new object of the class.

    The card decides on pooling, normalization, tokenizer and length, since Pyserini passes defaults of its own that
    cannot be told from what a user asked for. Only a prefix always comes from the user.
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
    """Return the arguments of a class of Pyserini by name; none for classes that others derived."""
    if not cls.__module__.startswith("pyserini."):
        return {}
    try:
        bound = inspect.signature(cls.__init__).bind_partial(None, *args, **kwargs)  # type: ignore[misc]  # of a class
    except TypeError:
        return {}  # its own __init__ says what is wrong
    return {**bound.arguments, **kwargs}

"""Lower-casing that sentence-transformers does before a tokenizer does its own work."""

from typing import Any

from pyserini_jpq.errors import EncoderError


def lower_case(tokenizer: Any, where: str) -> None:
    """Let a tokenizer lower-case all texts, by the rule of sentence-transformers: unless it does so already.

    Parameters
    ----------
    tokenizer
        It is changed in place.
    where
        What it belongs to, for errors.

    Raises
    ------
    EncoderError
        If it is none of the package `tokenizers`.
    """
    from tokenizers.normalizers import Lowercase, Sequence

    if not getattr(tokenizer, "is_fast", False):
        raise EncoderError(f"{where}: lower_case needs a tokenizer of the package tokenizers")
    before = tokenizer.backend_tokenizer.normalizer
    parts: list[Any] = [before[i] for i in range(len(before))] if isinstance(before, Sequence) else [before]
    parts = [part for part in parts if part is not None]
    if not any(isinstance(part, Lowercase) for part in parts):
        tokenizer.backend_tokenizer.normalizer = Sequence([Lowercase(), *parts])

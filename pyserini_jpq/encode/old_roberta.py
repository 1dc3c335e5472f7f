"""The rules by which RoBERTa's tokenizer of transformers 2 prepared text, which ANCE, STAR and JPQ were trained with.

Today's tokenizers cut words alike but prepare text otherwise: they ignore `do_lower_case`, keep white space at the end
of a text and before a special token written out in it, and put a space behind such a token. Read from the sources of
`RobertaTokenizer` and `PreTrainedTokenizer` in transformers 2.3.0 (ANCE) and 2.8.0 (STAR, JPQ).
"""

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.errors import EncoderError

MOST_CHARACTERS = 10_000
"""The authors' scripts cut texts to this length before they tokenize them."""


def follows_old_rules(card: EncoderCard) -> bool:
    """Return whether an encoder's texts are prepared by the old rules: `ance` with `do_lower_case`."""
    return card.architecture == "ance" and bool(card.tokenizer_options.get("do_lower_case"))


class OldRobertaTokenizer:
    """Turns texts into token ids as RoBERTa's tokenizer of transformers 2 did, lower-casing them.

    Parameters
    ----------
    tokenizer
        Today's tokenizer with the same vocabulary.
    prefix_space
        Whether a text gets a space in front, unless it begins with white space: 2.8.0 does that and then trims the end
        of each piece; 2.3.0 does not, and trims both ends.

    Raises
    ------
    EncoderError
        If it is no byte-level BPE tokenizer.
    """

    def __init__(self, tokenizer: Any, prefix_space: bool) -> None:
        from tokenizers import pre_tokenizers

        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(getattr(backend, "pre_tokenizer", None), pre_tokenizers.ByteLevel):
            raise EncoderError(
                f"do_lower_case needs a byte-level tokenizer such as roberta-base's, not {type(tokenizer).__name__}"
            )
        # A copy that adds nothing by itself: spaces in front, special tokens and cuts are all ours.
        self._bpe = copy.deepcopy(backend)
        self._bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._bpe.no_truncation()
        self._bpe.no_padding()
        tokens = dict.fromkeys(map(str, tokenizer.all_special_tokens))
        self._specials = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in tokens}
        self._split = re.compile("|".join(re.escape(token) for token in sorted(self._specials, key=len, reverse=True)))
        self._prefix_space = prefix_space
        self._ends = [tokenizer.cls_token_id], [tokenizer.sep_token_id]

    def encode(self, texts: Sequence[str], max_length: int, special_tokens: bool = True) -> list[list[int]]:
        """Return the token ids of each text, cut to `max_length`; `<s>` and `</s>` around it are counted."""
        pieces = [list(self.pieces(text)) for text in texts]
        words = [piece for row in pieces for piece in row if isinstance(piece, str)]
        encoded = iter(self._bpe.encode_batch(words, add_special_tokens=False))
        before, after = self._ends if special_tokens else ([], [])
        room = max(0, max_length - len(before) - len(after))
        rows = []
        for row in pieces:
            ids = [i for piece in row for i in (next(encoded).ids if isinstance(piece, str) else [piece])]
            rows.append(before + ids[:room] + after)
        return rows

    def pieces(self, text: str) -> Iterator[str | int]:
        """Yield the texts between special tokens and the ids of these, in order."""
        text = self._prepare(text)
        if not text.strip():
            return
        end = 0
        for match in [*self._split.finditer(text), None]:
            piece = self._trim(text[end : match.start() if match else None])
            if piece:
                yield piece
            if match:
                yield self._specials[match[0]]
                end = match.end()

    def _prepare(self, text: str) -> str:
        text = text[:MOST_CHARACTERS]
        if self._prefix_space and text and not text[0].isspace():
            text = f" {text}"
        # Character by character, so that a Greek final sigma stays what it was.
        return "".join(character.lower() for character in text)

    def _trim(self, piece: str) -> str:
        return piece.rstrip() if self._prefix_space else piece.strip()

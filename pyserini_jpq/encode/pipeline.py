"""From texts to vectors: one thread tokenizes ahead, others compute batches whose activations stay in the caches."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import torch

from pyserini_jpq.ahead import ahead
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.quantizer import Floats

CHUNK = 1024
"""Texts of about the same length that are tokenized together, while the chunk before is computed."""
TOKENS = 1024
"""Most tokens of a batch on a CPU: the inner layer of MiniLM gives 6 MB for these, which stay in the caches; for 32
texts of 256 tokens, 50 MB would go to memory and back at every layer."""

_CHARACTERS = 1 << 22
_TOKENIZED_AT_ONCE = 256
_MOST_WORKERS = 16
"""Beyond, workers get several threads each: between two layers they would wait for Python's lock."""

Rows = Sequence[Sequence[int]]
Compute = Callable[[Rows], Floats]


class Pipeline:
    """Encodes texts by threads; results do not depend on how many there are, nor on what was encoded before.

    Parameters
    ----------
    encoder
        Tokenizes; its card says how.
    compute
        Encodes the token ids of B texts to [B, D] float32; called by several threads.
    batch_size
        Most texts of a batch.
    tokens
        Most tokens of a batch, with padding; None for no bound.
    tokenizing, computing
        The threads, and how many compute.
    """

    def __init__(
        self,
        encoder: Encoder,
        compute: Compute,
        batch_size: int,
        tokens: int | None,
        tokenizing: Executor,
        computing: Executor,
        workers: int,
    ) -> None:
        self._encoder, self._compute = encoder, compute
        self._batch_size, self._tokens = batch_size, tokens
        self._tokenizing, self._computing, self._workers = tokenizing, computing, workers

    def vectors(self, texts: Sequence[str], wanted: np.ndarray) -> Iterator[tuple[np.ndarray, Floats]]:
        """Encode texts, longest first: memory peaks at once, and the estimated time only falls.

        Parameters
        ----------
        texts
            N texts.
        wanted
            [N] bool. A batch is computed whole if any text of it is wanted, so that its vectors are the same bit by bit
            whether or not an earlier run was interrupted.

        Yields
        ------
        positions : np.ndarray
            [B] int64, of the texts of a batch.
        vectors : np.ndarray
            [B, D] float32.
        """
        pending: deque[tuple[np.ndarray, Future[Floats]]] = deque()
        try:
            for positions, rows in self._batches(texts, wanted):
                pending.append((positions, self._computing.submit(self._computed, rows)))
                if len(pending) > 2 * self._workers:
                    yield _done(pending)
            while pending:
                yield _done(pending)
        finally:
            for _, future in pending:
                future.cancel()

    def _computed(self, rows: Rows) -> Floats:
        with torch.inference_mode():  # of a thread, as autocast is
            return self._compute(rows)

    def _batches(self, texts: Sequence[str], wanted: np.ndarray) -> Iterator[tuple[np.ndarray, Rows]]:
        chunks = (chunk for chunk in chunks_by_length(texts) if wanted[chunk].any())
        tokenized = ahead(self._tokenizing, lambda chunk: (chunk, self._tokenize(texts, chunk)), chunks)
        for chunk, rows in tokenized:
            for batch in batches_by_length(rows, self._batch_size, self._tokens):
                if wanted[chunk[batch]].any():
                    yield chunk[batch], [rows[i] for i in batch]

    def _tokenize(self, texts: Sequence[str], chunk: np.ndarray) -> Rows:
        return tokens_of([texts[i] for i in chunk], self._encoder)


@contextlib.contextmanager
def pipeline(encoder: Encoder, compute: Compute, batch_size: int, dtype: torch.dtype) -> Iterator[Pipeline]:
    """Start the threads of a pipeline; on a CPU each computes a batch of its own, and waits for no other.

    Parameters
    ----------
    encoder, compute, batch_size
        As in `Pipeline`.
    dtype
        What torch computes in, by autocast.
    """
    threads, device = torch.get_num_threads(), encoder.device.type
    workers = min(threads, _MOST_WORKERS) if device == "cpu" else 1

    def enter() -> None:
        # For the life of a thread: to leave autocast, as `with` does, is to convert the weights again for each batch.
        if dtype != torch.float32:
            torch.set_autocast_dtype(device, dtype)
            torch.set_autocast_enabled(device, True)

    torch.set_num_threads(max(1, threads // workers))
    try:
        with ThreadPoolExecutor(1, "tokenize") as tokenizing, ThreadPoolExecutor(workers, "encode", enter) as computing:
            tokens = TOKENS if device == "cpu" else None
            yield Pipeline(encoder, compute, batch_size, tokens, tokenizing, computing, workers)
    finally:
        torch.set_num_threads(threads)
        torch.clear_autocast_cache()


def chunks_by_length(texts: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield positions of texts, longest first, in chunks of so many texts or characters."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    start, characters = 0, 0
    for end, i in enumerate(order):
        if end > start and (end - start == CHUNK or characters + lengths[i] > _CHARACTERS):
            yield order[start:end]
            start, characters = end, 0
        characters += int(lengths[i])
    if start < len(order):
        yield order[start:]


def batches_by_length(rows: Sequence[Sized], batch_size: int, tokens: int | None = None) -> Iterator[np.ndarray]:
    """Yield positions of rows or texts, longest first, in batches of so many or, with their padding, tokens."""
    order = np.argsort([-len(row) for row in rows], kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, len(rows[order[start]]))
        size = batch_size if tokens is None else max(1, min(batch_size, tokens // longest))
        yield order[start : start + size]
        start += size


def tokens_of(texts: Sequence[str], encoder: Encoder) -> list[list[int]]:
    """Tokenize documents in parts, as a tokenizer needs far more memory per text than the ids."""
    tokens: list[list[int]] = []
    for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
        tokens += encoder.tokenize(texts[start : start + _TOKENIZED_AT_ONCE], encoder.card.document)
    return tokens


def _done(pending: "deque[tuple[np.ndarray, Future[Floats]]]") -> tuple[np.ndarray, Floats]:
    positions, future = pending.popleft()
    return positions, future.result()

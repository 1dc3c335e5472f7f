"""The threads of encoding: what they give does not depend on them, and they hold no more than a few batches."""

import threading

import numpy as np
import pytest
import torch

from pyserini_jpq.cards import EncoderCard
from pyserini_jpq.encode import pipeline as module
from pyserini_jpq.encode.backend import document_backend
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.encode.pipeline import batches_by_length, chunks_by_length, pipeline
from tests.conftest import WORDS

pytestmark = pytest.mark.unit
TEXTS = [" ".join(WORDS[i % 5 :][: 1 + i % 11]) for i in range(60)]


@pytest.fixture(scope="module")
def encoder(tiny_encoder):
    return Encoder.load(EncoderCard(backbone=str(tiny_encoder), pooling="mean"))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


class Letters:
    """Tokenizes a text into its letters, and notes the threads that did."""

    device = torch.device("cpu")
    card = EncoderCard(backbone="nowhere/tiny")

    def __init__(self):
        self.tokenized, self.by = 0, set()

    def tokenize(self, texts, side):
        self.tokenized += len(texts)
        self.by.add(threading.current_thread())
        return [[ord(letter) for letter in text] for text in texts]


def sums(rows):
    return np.array([[sum(row)] for row in rows], dtype=np.float32)


def encoded(encoder, texts=TEXTS, batch_size=32, compute=None):
    compute = compute or document_backend(encoder, "torch")
    found = np.full((len(texts), encoder.dimension), np.nan, dtype=np.float32)
    with pipeline(encoder, compute, batch_size, torch.float32) as encoding:
        for positions, vectors in encoding.vectors(texts, np.ones(len(texts), dtype=bool)):
            found[positions] = vectors
    return found


def test_vectors_do_not_depend_on_batches_and_threads(encoder, monkeypatch, threads):
    with torch.inference_mode():
        expected = [encoder(*encoder.pad(encoder.tokenize([text], encoder.card.document))).numpy()[0] for text in TEXTS]
    threads(1)
    alone = encoded(encoder)
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    threads(3)
    assert np.array_equal(encoded(encoder), alone)
    for batch_size, tokens, chunk in ((1, 1024, 1024), (7, 20, 16), (100, 5, 9), (32, 1 << 20, 1)):
        monkeypatch.setattr(module, "TOKENS", tokens)
        monkeypatch.setattr(module, "CHUNK", chunk)
        np.testing.assert_allclose(encoded(encoder, batch_size=batch_size), expected, atol=1e-5)
    assert torch.get_num_threads() == 3


def test_what_is_encoded_after_an_interruption_is_the_same_bit_by_bit(encoder, threads):
    threads(2)
    whole, wanted = encoded(encoder, batch_size=7), np.arange(len(TEXTS)) % 23 == 5
    seen: list[int] = []
    with pipeline(encoder, document_backend(encoder, "torch"), 7, torch.float32) as encoding:
        for positions, vectors in encoding.vectors(TEXTS, wanted):
            assert np.array_equal(vectors, whole[positions])
            seen += positions.tolist()
    assert set(np.flatnonzero(wanted)) <= set(seen) and len(seen) < len(TEXTS)


@pytest.mark.parametrize("lengths", [[], [3], [0, 5, 5, 9, 2, 7, 7, 7, 1], list(range(40))])
@pytest.mark.parametrize(("batch_size", "tokens"), [(4, None), (3, 14), (100, 1), (1, 100)])
def test_batches_hold_every_row_once_and_no_more_than_asked(lengths, batch_size, tokens):
    rows = [[1] * length for length in lengths]
    batches = list(batches_by_length(rows, batch_size, tokens))
    order = [i for batch in batches for i in batch]
    assert sorted(order) == list(range(len(rows)))
    assert [len(rows[i]) for i in order] == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) <= batch_size
        assert tokens is None or len(batch) == 1 or len(batch) * len(rows[batch[0]]) <= tokens


def test_chunks_are_bounded_by_texts_and_by_characters(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(module, "_CHARACTERS", 10)
    texts = ["x" * n for n in (1, 30, 4, 4, 2, 6, 1, 1)]
    chunks = [[len(texts[i]) for i in chunk] for chunk in chunks_by_length(texts)]
    assert chunks == [[30], [6, 4], [4, 2, 1], [1, 1]]
    assert list(chunks_by_length([])) == []


def test_batches_that_are_there_are_left_out_and_their_chunks_not_tokenized(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    texts = ["x" * n for n in range(1, 13)]
    letters, wanted = Letters(), np.zeros(12, dtype=bool)
    wanted[5] = True  # the sixth of the shortest eight
    with pipeline(letters, sums, 2, torch.float32) as encoding:
        batches = [(positions.tolist(), vectors.tolist()) for positions, vectors in encoding.vectors(texts, wanted)]
    assert batches == [([5, 4], [[6.0 * ord("x")], [5.0 * ord("x")]])]
    assert letters.tokenized == 4


def test_it_runs_no_further_ahead_than_a_few_batches(monkeypatch, threads):
    threads(2)
    monkeypatch.setattr(module, "CHUNK", 10)
    letters, computed = Letters(), []

    def compute(rows):
        computed.append(len(rows))
        return sums(rows)

    texts = ["x" * 20] * 1000
    with pipeline(letters, compute, 5, torch.float32) as encoding:
        vectors = encoding.vectors(texts, np.ones(1000, dtype=bool))
        for number in range(1, 6):
            next(vectors)
            assert len(computed) <= number + 2 * 2 + 1
            assert letters.tokenized <= 10 * (number + 5)
        vectors.close()
    assert len(computed) < 20 and letters.by.isdisjoint({threading.current_thread()})


def test_the_next_texts_are_tokenized_while_others_are_computed(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    second, letters = threading.Event(), Letters()
    tokenize = letters.tokenize

    def noted(texts, side):
        if letters.tokenized:
            second.set()
        return tokenize(texts, side)

    letters.tokenize = noted

    def compute(rows):
        assert second.wait(60)
        return sums(rows)

    with pipeline(letters, compute, 4, torch.float32) as encoding:
        assert len(list(encoding.vectors(["x"] * 8, np.ones(8, dtype=bool)))) == 2


def test_what_fails_in_a_thread_is_raised_and_ends_the_others(threads):
    threads(2)
    calls = []

    def compute(rows):
        calls.append(rows)
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"), pipeline(Letters(), compute, 1, torch.float32) as encoding:
        list(encoding.vectors(["x"] * 500, np.ones(500, dtype=bool)))
    assert torch.get_num_threads() == 2 and len(calls) <= 6

    letters = Letters()
    letters.tokenize = lambda texts, side: 1 / 0
    with pytest.raises(ZeroDivisionError), pipeline(letters, sums, 1, torch.float32) as encoding:
        list(encoding.vectors(["x"], np.ones(1, dtype=bool)))


def test_autocast_and_inference_hold_in_the_threads_alone():
    found = []

    def compute(rows):
        kind = torch.nn.functional.linear(torch.ones(1, 4), torch.ones(4, 4)).dtype
        found.append((kind, torch.is_inference_mode_enabled()))
        return sums(rows)

    for dtype in (torch.bfloat16, torch.float32):
        with pipeline(Letters(), compute, 1, dtype) as encoding:
            list(encoding.vectors(["x"], np.ones(1, dtype=bool)))
    assert found == [(torch.bfloat16, True), (torch.float32, True)]
    assert not torch.is_autocast_enabled("cpu") and not torch.is_inference_mode_enabled()

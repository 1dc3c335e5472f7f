"""The search that GPUs do, here on torch's CPU device: there is no GPU where tests run."""

import numpy as np
import pytest
import torch

from pyserini_jpq.errors import QuantizerError
from pyserini_jpq.index.faiss_format import to_faiss
from pyserini_jpq.scan import blocks
from pyserini_jpq.search.adapter import FaissLike
from pyserini_jpq.search.engines.torch import TorchEngine
from tests.search.engines.test_scan import make_index

CPU = torch.device("cpu")


@pytest.mark.unit
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("m", "bits", "block"), [(8, 8, 1 << 18), (8, 8, 700), (16, 4, 700), (5, 4, 700)])
def test_results_are_the_references(monkeypatch, m, bits, block, biased):
    monkeypatch.setattr(blocks, "_BLOCK", block)
    quantizer, codes, _ = make_index(m=m, bits=bits, dimension=160, biased=biased)
    queries = np.random.default_rng(1).normal(size=(40, 160)).astype(np.float32)
    index = FaissLike(TorchEngine(to_faiss(quantizer, codes), "x", CPU))
    scores, rows, vectors = index.search_and_reconstruct(queries, 20)
    every = quantizer.score(queries, codes)
    assert np.allclose(scores, quantizer.search(queries, codes, 20)[0], atol=1e-4)
    assert np.allclose(np.take_along_axis(every, rows, 1), scores, atol=1e-4)
    assert all(len(set(of_query)) == 20 for of_query in rows)
    assert np.allclose(vectors, to_faiss(quantizer, codes).search_and_reconstruct(queries, 20)[2], atol=1e-4)
    assert (index.ntotal, index.d) == (3000, 160)


@pytest.mark.unit
@pytest.mark.parametrize("documents", [0, 7])
def test_beyond_the_last_document_stands_minus_one(documents):
    quantizer, codes, queries = make_index(documents)
    expected = (index := to_faiss(quantizer, codes)).search(queries, 10)
    scores, rows = TorchEngine(index, "x", CPU).search(queries, 10)
    assert np.array_equal(rows, expected[1]) and np.allclose(scores, expected[0], atol=1e-4)


@pytest.mark.unit
def test_a_query_that_is_not_finite_is_refused():
    quantizer, codes, queries = make_index(50)
    queries[3, 5] = np.nan
    with pytest.raises(QuantizerError, match="NaN or infinite"):
        TorchEngine(to_faiss(quantizer, codes), "x", CPU).search(queries, 10)


@pytest.mark.integration
def test_the_searcher_takes_it_for_a_gpu(built, monkeypatch):
    from pyserini_jpq import JPQFaissSearcher
    from pyserini_jpq.encode import precision
    from pyserini_jpq.errors import JPQError

    encoder = JPQFaissSearcher(built / "x.jpq-m4").query_encoder
    if not torch.cuda.is_available():
        with pytest.raises(JPQError, match="'cuda:0' cannot be used here"):
            JPQFaissSearcher(built / "x.jpq-m4", encoder, faiss_device="cuda:0")
    monkeypatch.setattr(precision, "resolve_device", lambda name: CPU)
    by_torch = JPQFaissSearcher(built / "x.jpq-m4", encoder, faiss_device="cuda:0")
    assert isinstance(by_torch.engine, TorchEngine)
    exact = JPQFaissSearcher(built / "x.jpq-m4", encoder)
    for one, other in zip(by_torch.search("alpha beta", k=300), exact.search("alpha beta", k=300), strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
    batch = by_torch.batch_search(["alpha", "beta gamma"], ["1", "2"], k=5, return_vector=True)[1]
    assert [len(hits) for hits in batch.values()] == [5, 5]

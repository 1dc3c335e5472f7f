"""The compiled scan of inverted lists: of all lists what exhaustive search gives, of some what faiss finds in them."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_jpq.errors import IndexFolderError, InstallationError, QuantizerError
from pyserini_jpq.index import ivf
from pyserini_jpq.index.faiss_format import to_faiss
from pyserini_jpq.index.ivf import build_ivf, set_nprobe
from pyserini_jpq.scan import ListScanner, available
from pyserini_jpq.scan.scanner import KERNEL_VARIABLE, kernels
from pyserini_jpq.search.adapter import FaissLike
from pyserini_jpq.search.engines import ivf as lists_engine
from pyserini_jpq.search.engines.faiss import FaissEngine
from pyserini_jpq.search.engines.ivf import ListsEngine
from pyserini_jpq.search.engines.scan import ScanEngine
from tests.search.engines.test_scan import make_index

needs_extension = pytest.mark.skipif(not available(), reason="the extension was not built: no C++ compiler")


def engines(lists, **settings):
    quantizer, codes, queries = make_index(**settings)
    index = to_faiss(quantizer, codes)
    sorted_index = build_ivf(index, "x", lists)
    return ScanEngine(index, "x"), ListsEngine(sorted_index, index, "x"), sorted_index, queries


@needs_extension
@pytest.mark.unit
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("threads", "m", "bits"), [(1, 8, 8), (2, 8, 8), (1, 8, 4), (2, 5, 4)])
def test_all_lists_are_exhaustive_search_bit_for_bit(monkeypatch, threads, m, bits, biased):
    exhaustive, by_lists, lists, queries = engines(30, m=m, bits=bits, dimension=40, biased=biased)
    exhaustive, by_lists = FaissLike(exhaustive), FaissLike(by_lists)
    set_nprobe(lists, 30)
    faiss.omp_set_num_threads(threads)
    for kernel in kernels():
        monkeypatch.setenv(KERNEL_VARIABLE, kernel)
        for k in (1, 25, 4000):
            found = by_lists.search_and_reconstruct(queries, k)
            for one, other in zip(found, exhaustive.search_and_reconstruct(queries, k), strict=True):
                assert np.array_equal(one, other, equal_nan=True), kernel


@needs_extension
@pytest.mark.property
@settings(max_examples=25)
@given(
    st.sampled_from([1, 40, 700, 3000]),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([1, 10, 100, 5000]),
    st.integers(0, 999),
)
def test_some_lists_give_the_best_of_their_documents(documents, lists, nprobe, k, seed):
    lists, nprobe = min(lists, documents), min(nprobe, lists, documents)
    quantizer, codes, queries = make_index(documents, seed=seed)
    codes = codes[np.random.default_rng(seed).integers(0, max(1, documents // 3), documents)]  # equal scores
    index = to_faiss(quantizer, codes)
    sorted_index = build_ivf(index, "x", lists)
    set_nprobe(sorted_index, nprobe)
    scores, rows = ListsEngine(sorted_index, index, "x").search(queries, k)
    every = np.full((len(queries), documents), -np.inf, np.float32)
    there, everywhere = ScanEngine(index, "x").search(queries, documents)
    np.put_along_axis(every, everywhere, there, 1)
    by_faiss = sorted_index.search(queries, documents)[1]  # which documents lie in the lists
    for q, mine in enumerate(by_faiss):
        mine = mine[mine >= 0]
        right = mine[np.lexsort((mine, -every[q, mine]))][:k]
        assert np.array_equal(rows[q], np.pad(right, (0, k - len(right)), constant_values=-1))
        assert np.array_equal(scores[q, : len(right)], every[q, right])
        assert (scores[q, len(right) :] == np.finfo(np.float32).min).all()


@needs_extension
@pytest.mark.unit
def test_a_graph_finds_few_of_many_lists(monkeypatch):
    _, compared, lists, queries = engines(40)
    set_nprobe(lists, 8)
    right = compared.search(queries, 10)[1]
    monkeypatch.setattr(ivf, "HNSW_FROM", 40)
    _, by_lists, with_graph, _ = engines(40)
    set_nprobe(with_graph, 8)
    assert np.array_equal(by_lists.search(queries, 10)[1], right)  # too many of them
    graph = by_lists._graph
    assert isinstance(graph, faiss.IndexHNSW)
    asked = []
    monkeypatch.setattr(graph, "search", lambda *args: asked.append(args) or faiss.IndexHNSW.search(graph, *args))
    monkeypatch.setattr(lists_engine, "GRAPH_FROM", 5)
    found = by_lists.search(queries, 10)[1]
    assert len(asked) == 1 and np.mean([np.isin(a, b).mean() for a, b in zip(right, found, strict=True)]) > 0.9


@needs_extension
@pytest.mark.unit
def test_lists_that_a_graph_does_not_find_are_none():
    codes = np.arange(8, dtype=np.uint8).reshape(4, 2)
    rows = np.array([7, 3, 9, 1], dtype=np.int64)
    starts = np.array([0, 3], dtype=np.uint64)
    scanner = ListScanner(
        codes.ctypes.data + 2 * starts, rows.ctypes.data + 8 * starts, np.array([3, 1], dtype=np.int64), 2
    )
    tables = np.stack([np.zeros((2, 256)), np.tile(np.arange(256.0), (2, 1))]).astype(np.float32)
    scores, found = scanner.search(np.array([[-1, 0, -1], [1, -1, 0]]), tables, 4)
    lowest = np.finfo(np.float32).min
    assert found.tolist() == [[3, 7, 9, -1], [1, 9, 3, 7]]
    assert scores.tolist() == [[0, 0, 0, lowest], [13, 9, 5, 1]]
    assert scanner.search(np.full((2, 1), -1), tables, 2)[1].tolist() == [[-1, -1]] * 2
    assert scanner.search(np.zeros((0, 3), dtype=np.int64), tables[:0], 2)[1].shape == (0, 2)


@needs_extension
@pytest.mark.unit
def test_what_cannot_be_is_refused():
    _, by_lists, _, queries = engines(3)
    for bad in (np.nan, np.inf, 3e38):
        wrong = queries.copy()
        wrong[1, 0] = bad
        with pytest.raises(QuantizerError, match=r"NaN or infinite|tables of query 1 are not finite"):
            by_lists.search(wrong, 5)
    with pytest.raises(QuantizerError, match="at least 1"):
        by_lists.search(queries, 0)


@needs_extension
@pytest.mark.unit
def test_a_document_that_the_index_has_not_is_refused():
    _, by_lists, lists, queries = engines(30)
    set_nprobe(lists, 30)
    best = by_lists.search(queries, 1)[1][0, 0]
    kept = faiss.downcast_index(lists.index).invlists
    for number in range(30):
        rows = faiss.rev_swig_ptr(kept.get_ids(number), kept.list_size(number))
        rows[rows == best] = 3000
    with pytest.raises(IndexFolderError, match="a document that the index has not; make them again"):
        FaissLike(by_lists).search_and_reconstruct(queries, 1)


@pytest.mark.integration
def test_without_the_extension_faiss_searches(monkeypatch):
    quantizer, codes, queries = make_index()
    index = to_faiss(quantizer, codes)
    lists = build_ivf(index, "x", 30)
    set_nprobe(lists, 4)
    by_faiss = lists.search(queries, 10)
    monkeypatch.setenv(KERNEL_VARIABLE, "off")
    for one, other in zip(FaissEngine(index, "x", lists).search(queries, 10), by_faiss, strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(InstallationError):
        ListsEngine(lists, index, "x")

"""The compiled scan behind a faiss index: the reference's results, faiss's interface."""

import shutil

import faiss
import numpy as np
import pytest

from pyserini_jpq.errors import IndexFolderError, QuantizerError
from pyserini_jpq.index.blocks import write_blocks
from pyserini_jpq.index.faiss_format import from_faiss, stored_codes, to_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.quantizer import ProductQuantizer
from pyserini_jpq.scan import available
from pyserini_jpq.scan.scanner import KERNEL_VARIABLE
from pyserini_jpq.search import open as opening
from pyserini_jpq.search.adapter import FaissLike
from pyserini_jpq.search.engines.faiss import FaissEngine
from pyserini_jpq.search.engines.scan import ScanEngine
from pyserini_jpq.search.open import exhaustive, open_index

needs_extension = pytest.mark.skipif(not available(), reason="the extension was not built: no C++ compiler")


def make_index(documents=3000, m=8, dimension=32, bits=8, seed=0, biased=False):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0].astype(np.float32)
    centroids = rng.normal(size=(m, 2**bits, dimension // m)).astype(np.float32)
    biases = rng.normal(size=(m, 2**bits)).astype(np.float32) if biased else None
    quantizer = ProductQuantizer(rotation, centroids, biases)
    codes = rng.integers(0, 2**bits, (documents, m)).astype(np.uint8)
    return quantizer, codes, rng.normal(size=(5, dimension)).astype(np.float32)


@needs_extension
@pytest.mark.unit
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("threads", "m", "bits"), [(1, 8, 8), (2, 8, 8), (1, 16, 4), (1, 1, 4)])
def test_results_are_the_references(tmp_path, threads, m, bits, biased):
    quantizer, codes, queries = make_index(m=m, bits=bits, biased=biased)
    faiss.write_index(to_faiss(quantizer, codes), str(tmp_path / "index"))
    plain, mapped = read_faiss(tmp_path / "index"), read_faiss(tmp_path / "index", mapped=True)
    engine = ScanEngine(mapped, "x")
    index = FaissLike(engine)
    faiss.omp_set_num_threads(threads)
    scores, rows = engine.search(queries, 20, threads)
    expected_scores, expected_rows = quantizer.search(queries, codes, 20)
    assert m == 1 or np.array_equal(rows, expected_rows)
    assert np.allclose(scores, expected_scores, atol=1e-5)
    by_faiss, rows_by_faiss, vectors_by_faiss = plain.search_and_reconstruct(queries, 20)
    assert np.allclose(scores, by_faiss, atol=1e-4)
    again, rows_again, vectors = index.search_and_reconstruct(queries, 20)
    assert np.array_equal(again, scores) and np.array_equal(rows_again, rows)
    # Where two documents all but tie, faiss may order them otherwise; m = 1 has many that do.
    assert m == 1 or (np.array_equal(rows, rows_by_faiss) and np.allclose(vectors, vectors_by_faiss, atol=1e-5))
    assert (index.ntotal, index.d) == (engine.documents, engine.dimension) == (3000, 32)
    assert np.array_equal(from_faiss(mapped, "x")[1], codes)


@needs_extension
@pytest.mark.unit
@pytest.mark.parametrize(("threads", "m", "bits"), [(1, 8, 8), (2, 8, 8), (1, 16, 4), (1, 5, 4)])
def test_blocks_give_the_same_bit_for_bit(tmp_path, threads, m, bits):
    quantizer, codes, queries = make_index(m=m, bits=bits, dimension=80)
    index = to_faiss(quantizer, codes)
    write_blocks(tmp_path / "blocks", stored_codes(index, "x"))
    faiss.omp_set_num_threads(threads)
    by_rows = FaissLike(ScanEngine(index, "x"))
    by_blocks = FaissLike(ScanEngine(index, "x", tmp_path / "blocks"))
    for k in (1, 20, 4000):
        found = by_blocks.search_and_reconstruct(queries, k)
        for one, other in zip(found, by_rows.search_and_reconstruct(queries, k), strict=True):
            assert np.array_equal(one, other, equal_nan=True)
        assert np.array_equal(np.isnan(found[2]).all(2), found[1] < 0) and (found[1] < 0).any() == (k == 4000)
    write_blocks(tmp_path / "blocks", stored_codes(index, "x")[::-1])
    with pytest.raises(IndexFolderError, match="holds other codes than the index; delete it"):
        ScanEngine(index, "x", tmp_path / "blocks")


@needs_extension
@pytest.mark.integration
def test_a_searcher_reads_the_blocks_where_they_are(built, tmp_path, monkeypatch):
    from pyserini_jpq import JPQFaissSearcher

    monkeypatch.setattr(opening, "SCAN_FROM", 1)
    shutil.copytree(built / "x.jpq-m4", tmp_path / "x")
    query = np.random.default_rng(0).normal(size=(1, IndexFolder(tmp_path / "x").manifest.dimension)).astype(np.float32)
    found = []
    for in_blocks in (True, False):
        searcher = JPQFaissSearcher(tmp_path / "x", query_encoder=False)
        for engine in (searcher.engine, searcher.index.engine, open_index(tmp_path / "x")):
            assert engine._scanner.in_blocks == in_blocks
        found.append([(hit.docid, hit.score) for hit in searcher.search(query, 300)])
        (tmp_path / "x" / "blocks").unlink(missing_ok=True)
    assert found[0] == found[1] and len(found[0]) == 300


@needs_extension
@pytest.mark.unit
@pytest.mark.parametrize(("bits", "smallest"), [(8, opening.SCAN_FROM), (4, opening.SCAN_4_FROM)])
def test_small_indexes_are_left_to_faiss(bits, smallest):
    for documents in (smallest - 1, smallest):
        quantizer, codes, _ = make_index(documents, m=2, dimension=4, bits=bits)
        engine = exhaustive(to_faiss(quantizer, codes), "x")
        assert type(engine) is (ScanEngine if documents == smallest else FaissEngine)


@needs_extension
@pytest.mark.unit
@pytest.mark.parametrize("documents", [0, 7])
def test_beyond_the_last_document_stands_minus_one(documents):
    quantizer, codes, queries = make_index(documents)
    index = to_faiss(quantizer, codes)
    scores, rows = ScanEngine(index, "x").search(queries, 10)
    expected_scores, expected_rows = index.search(queries, 10)
    assert np.array_equal(rows, expected_rows) and np.allclose(scores, expected_scores, atol=1e-4)


@needs_extension
@pytest.mark.unit
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, -3e38])
def test_extreme_queries_are_refused(value):
    quantizer, codes, queries = make_index(50)
    index = to_faiss(quantizer, codes)
    queries[3, 5] = value
    with pytest.raises(QuantizerError, match=r"NaN or infinite|tables of query 3"):
        ScanEngine(index, "x").search(queries, 10)


@pytest.mark.unit
def test_without_the_extension_faiss_searches_and_one_line_says_so(monkeypatch, caplog):
    quantizer, codes, queries = make_index(50)
    index = to_faiss(quantizer, codes)
    monkeypatch.setattr(opening, "SCAN_FROM", 1)
    monkeypatch.delenv(KERNEL_VARIABLE, raising=False)
    monkeypatch.setattr(opening, "available", lambda: False)
    opening._say_once.cache_clear()
    for _ in range(2):
        assert np.array_equal(exhaustive(index, "x").search(queries, 5)[1], quantizer.search(queries, codes, 5)[1])
    err = caplog.text
    assert err.count("searching with faiss") == 1 and err.count("\n") == 1
    caplog.clear()
    monkeypatch.setenv(KERNEL_VARIABLE, "off")
    opening._say_once.cache_clear()
    exhaustive(index, "x")
    assert caplog.text == ""
    opening._say_once.cache_clear()

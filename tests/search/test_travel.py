"""Searchers, encoders and engines in copies, pickles, other processes and threads: the results of one thread."""

import copy
import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from pyserini_jpq.errors import IndexFolderError, JPQError
from pyserini_jpq.index.blocks import keep_blocks
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.faiss_format import to_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf_file import write_ivf
from pyserini_jpq.scan import available
from pyserini_jpq.search import open as opening
from pyserini_jpq.search.engines.faiss import FaissEngine
from pyserini_jpq.search.open import open_index
from tests.conftest import make_embeddings, make_index

pytestmark = pytest.mark.integration

N, D = 3000, 16
QUERIES = ["bado kefa", "bado", "kefa bado bado lo", "unseen words"]


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(vectors, tmp_path_factory):
    folder = make_index(tmp_path_factory.mktemp("travel") / "x", vectors, [f"d{i}" for i in range(N)])
    keep_blocks(IndexFolder(folder), True)
    write_ivf(IndexFolder(folder), 20)
    return folder


@pytest.fixture(params=["faiss", "scan", "lists", "lists in memory", "flat"])
def engine(request, folder, vectors, tmp_path, monkeypatch):
    if request.param == "flat":
        return open_index(make_embeddings(tmp_path / "e", vectors, [f"d{i}" for i in range(N)]))
    monkeypatch.setattr(opening, "SCAN_FROM", N + (request.param == "faiss"))
    ivf = {"lists": 20, "lists in memory": 30}.get(request.param)
    return open_index(folder, ivf=ivf, nprobe=ivf and 4)


def in_process(method, work, *args):
    """Return what a function returns in another process; fail where it waits for a thread that is gone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        return pool.submit(work, *args).result(300)


def searched(engine, queries, threads):
    scores, rows = engine.search(queries, 20, threads)
    return scores, rows, engine.reconstruct(rows)


def same(found, expected):
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_engines_travel(engine, vectors):
    queries = np.random.default_rng(1).normal(size=(12, D)).astype(np.float32)
    expected = searched(engine, queries, 1)
    searched(engine, queries, 2)  # so that faiss has threads, which are gone in a forked process
    assert np.allclose(expected[1] >= 0, True) and copy.deepcopy(engine) is engine
    again = pickle.loads(pickle.dumps(engine))
    assert type(again) is type(engine) and same(searched(again, queries, 1), expected)
    for threads in (1, 2):
        assert same(in_process("fork", searched, engine, queries, threads), searched(engine, queries, threads))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: searched(engine, queries, 1), range(16)):
            assert same(found, expected)


def test_an_engine_of_what_is_in_memory_is_not_pickled():
    from tests.search.engines.test_scan import make_index as random_index

    quantizer, codes, _ = random_index(20)
    with pytest.raises(JPQError, match="open an index folder"):
        pickle.dumps(FaissEngine(to_faiss(quantizer, codes), "x"))


def test_another_index_is_refused(folder, vectors, tmp_path):
    shutil.copytree(folder, tmp_path / "x")
    embeddings = make_embeddings(tmp_path / "e", vectors, [f"d{i}" for i in range(N)])
    kept = [open_index(tmp_path / "x"), open_index(tmp_path / "x", nprobe=3), Docids(tmp_path / "x" / "docid", N)]
    pickled = [pickle.dumps(one) for one in (*kept, open_index(embeddings))]
    write_ivf(IndexFolder(tmp_path / "x"), 10)
    pickle.loads(pickled[0]), pickle.loads(pickled[2]), pickle.loads(pickled[3])
    with pytest.raises(IndexFolderError, match=r"x was changed after its searcher was pickled"):
        pickle.loads(pickled[1])
    for made, name in ((make_index, "x"), (make_embeddings, "e")):
        shutil.rmtree(tmp_path / name)
        made(tmp_path / name, vectors[:-1] * 2, [f"e{i}" for i in range(N - 1)])
    for one in (pickled[0], pickled[3]):
        with pytest.raises(IndexFolderError, match="was changed after its searcher was pickled"):
            pickle.loads(one)
    (tmp_path / "x" / "docid").write_text("".join(f"f{i}\n" for i in range(N)))
    with pytest.raises(IndexFolderError, match="was changed after its docids were pickled"):
        pickle.loads(pickled[2])


@pytest.mark.parametrize("mapped", [True, False])
def test_docids_travel(folder, mapped, monkeypatch):
    from pyserini_jpq.index import docids as module

    monkeypatch.setattr(module, "_MAPPED", 1 << 20 if mapped else -1)
    docids = Docids(folder / "docid", N)
    expected, rows = list(docids), np.arange(N)[::-1]
    assert list(pickle.loads(pickle.dumps(docids))) == expected and copy.deepcopy(docids) is docids
    assert in_process("fork", docids.at, rows) == expected[::-1]
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected[::-1] for found in pool.map(docids.at, [rows] * 16))


@pytest.fixture
def searcher(built, monkeypatch):
    from pyserini_jpq import JPQFaissSearcher

    monkeypatch.setattr(opening, "SCAN_FROM", 1)
    return JPQFaissSearcher(built / "x.jpq-m4")


def hits_of(searcher, queries=QUERIES, threads=1):
    hits = [[(hit.docid, hit.score) for hit in searcher.search(query, 20, threads)] for query in queries]
    batch = searcher.batch_search(queries, [str(i) for i in range(len(queries))], 20, threads)
    vectors, feedback = searcher.search(queries[0], 3, threads, return_vector=True)
    assert np.isfinite(vectors).all() and len(feedback) == 3
    return hits, {qid: [(hit.docid, hit.score) for hit in found] for qid, found in batch.items()}


@pytest.mark.parametrize("scans", [True, False])
def test_searchers_travel(searcher, scans, monkeypatch):
    if not scans:
        monkeypatch.setattr(opening, "SCAN_FROM", 1000)
        searcher = pickle.loads(pickle.dumps(searcher))
        assert isinstance(searcher.engine, FaissEngine)
    elif available():
        assert not isinstance(searcher.engine, FaissEngine)
    expected = hits_of(searcher)
    hits_of(searcher, threads=2)
    for again in (pickle.loads(pickle.dumps(searcher)), copy.deepcopy(searcher)):
        assert again.query_encoder is not searcher.query_encoder and hits_of(again) == expected
    assert in_process("fork", hits_of, searcher) == expected
    assert in_process("fork", hits_of, searcher, QUERIES, 2)[0][0][0][0] == expected[0][0][0][0]
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(lambda _: hits_of(searcher), range(8)))


def test_a_searcher_travels_to_a_new_process(built):
    from pyserini_jpq import JPQFaissSearcher

    searcher = JPQFaissSearcher(built / "x.jpq-m4")
    assert in_process("spawn", hits_of, searcher) == hits_of(searcher)


@pytest.mark.parametrize("backend", ["torch", "bfloat16", "onnx", "onnx-int8"])
def test_encoders_travel(built, backend, tmp_path, monkeypatch):
    from pyserini_jpq import JPQQueryEncoder
    from pyserini_jpq.paths import CACHE_VARIABLE

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    if backend.startswith("onnx"):
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    encoder = JPQQueryEncoder(built / "enc" / "x.jpq-m4", backend=backend)
    expected = encoder.encode_batch(QUERIES)
    for again in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert np.array_equal(again.encode_batch(QUERIES), expected)
    assert np.array_equal(in_process("fork", encoder.encode_batch, QUERIES), expected)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(encoder.encode_batch, [QUERIES] * 24):
            assert np.array_equal(found, expected)
    assert encoder.encode_batch([]).shape == (0, 32)
    with pytest.raises(JPQError, match="empty"):
        encoder.encode(" ")

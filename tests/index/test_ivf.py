"""Inverted lists: all of them give what exhaustive search gives, some of them a part of it."""

import faiss
import numpy as np
import pytest

from pyserini_jpq.errors import IndexFolderError, JPQError
from pyserini_jpq.index import ivf
from pyserini_jpq.index.faiss_format import from_faiss, pack, to_faiss
from pyserini_jpq.index.faiss_io import read_faiss, write_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.ivf import build_ivf, default_nprobe, paired, set_nprobe
from pyserini_jpq.index.ivf_file import IVF, read_ivf, write_ivf
from tests.conftest import make_index, run
from tests.search.engines.test_scan import make_index as random_index


def lists_of(quantizer, codes, lists, nprobe):
    index = build_ivf(to_faiss(quantizer, codes), "x", lists)
    set_nprobe(index, nprobe)
    return index


def near_each_other(documents=2000, m=4, dimension=16, groups=20, seed=0):
    """Documents of which each shares most of its codes with others, so that lists are of use."""
    rng = np.random.default_rng(seed)
    quantizer, _, _ = random_index(1, m, dimension, seed=seed)
    codes = rng.integers(0, 256, (groups, m))[rng.integers(0, groups, documents)]
    changed = rng.random(codes.shape) < 0.2
    codes[changed] = rng.integers(0, 256, changed.sum())
    return quantizer, codes.astype(np.uint8), rng.normal(size=(40, dimension)).astype(np.float32)


@pytest.mark.unit
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("threads", "m", "bits"), [(1, 8, 8), (2, 8, 8), (1, 8, 4), (1, 5, 4)])
def test_all_lists_are_exhaustive_search(threads, m, bits, biased):
    quantizer, codes, queries = random_index(m=m, bits=bits, dimension=40, biased=biased)
    index = lists_of(quantizer, codes, 30, 30)
    faiss.omp_set_num_threads(threads)
    scores, rows = index.search(queries, 25)
    every = quantizer.score(queries, codes)
    assert np.allclose(scores, quantizer.search(queries, codes, 25)[0], atol=1e-4)
    assert np.allclose(scores, np.take_along_axis(every, rows, 1), atol=1e-4)
    assert all(len(set(of_query)) == 25 for of_query in rows)
    again, rows_again, vectors = index.search_and_reconstruct(queries, 25)
    assert np.array_equal(rows_again, rows) and index.ntotal == 3000
    decoded = (quantizer.decode(codes[rows.ravel()]) @ quantizer.rotation).reshape(vectors.shape)
    assert np.array_equal(again, scores) and np.allclose(vectors, decoded, atol=1e-4)


@pytest.mark.unit
def test_more_lists_find_more_and_every_score_is_the_documents_own():
    quantizer, codes, queries = near_each_other()
    exact = quantizer.search(queries, codes, 10)[1]
    every = quantizer.score(queries, codes)
    shares = []
    for nprobe in (1, 4, 16, 40):
        scores, rows = lists_of(quantizer, codes, 40, nprobe).search(queries, 10)
        found = rows >= 0
        assert np.allclose(scores[found], np.take_along_axis(every, rows, 1)[found], atol=1e-4)
        shares.append(np.mean([np.isin(a, b).mean() for a, b in zip(exact, rows, strict=True)]))
    assert shares == sorted(shares) and 0.1 < shares[0] < 0.95 and shares[-1] > 0.98


@pytest.mark.unit
def test_a_graph_finds_the_lists_where_they_are_many(monkeypatch):
    quantizer, codes, queries = near_each_other()
    compared = lists_of(quantizer, codes, 40, 8).search(queries, 10)[1]
    monkeypatch.setattr(ivf, "HNSW_FROM", 40)
    index = lists_of(quantizer, codes, 40, 8)
    coarse = faiss.downcast_index(faiss.downcast_index(index.index).quantizer)
    assert isinstance(coarse, faiss.IndexHNSWFlat) and coarse.hnsw.efSearch == 64
    by_graph = index.search(queries, 10)[1]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(compared, by_graph, strict=True)]) > 0.9
    set_nprobe(index, 40)
    assert coarse.hnsw.efSearch == 80


@pytest.mark.unit
def test_pairs_of_codes_are_the_bytes_that_faiss_keeps():
    quantizer, codes, _ = random_index(100, m=6, bits=4, dimension=30)
    assert np.array_equal(paired(quantizer).decode(pack(codes, 4)), quantizer.decode(codes))


@pytest.mark.unit
def test_what_cannot_be_is_refused():
    quantizer, codes, _ = random_index(100)
    with pytest.raises(IndexFolderError, match="100 documents, too few for 101 lists"):
        lists_of(quantizer, codes, 101, 1)
    for nprobe in (0, 11):
        with pytest.raises(JPQError, match="from 1 to 10"):
            lists_of(quantizer, codes, 10, nprobe)


@pytest.mark.unit
def test_lists_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(n, 16)).astype(np.float32) for n in (600, 9))
    docids = [f"d{i}" for i in range(600)]
    make_index(tmp_path / "x", vectors, docids)
    folder = IndexFolder(tmp_path / "x")
    whole = folder.read()
    assert read_ivf(folder, whole) is None
    for lists in (13, 12):
        path = write_ivf(folder, lists)
    kept, made = read_ivf(IndexFolder(tmp_path / "x", verify=True), whole), build_ivf(whole, "x", 12)
    for index in (kept, made):
        set_nprobe(index, 3)
    for one, other in zip(kept.search(queries, 20), made.search(queries, 20), strict=True):
        assert np.array_equal(one, other)
    assert not list(tmp_path.glob("**/.*"))
    make_index(tmp_path / "y", vectors + 1, docids)
    (tmp_path / "y" / IVF).write_bytes(path.read_bytes())
    with pytest.raises(IndexFolderError, match="of another index"):
        read_ivf(other := IndexFolder(tmp_path / "y"), other.read())
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[:5000])
    with pytest.raises(IndexFolderError, match=r"cut short or changed: make them again with .* --ivf LISTS"):
        read_ivf(IndexFolder(tmp_path / "x"), whole)
    path.write_bytes(whole_file[:-1] + bytes([whole_file[-1] ^ 1]))
    assert read_ivf(IndexFolder(tmp_path / "x"), whole) is not None
    with pytest.raises(IndexFolderError, match="SHA-256"):
        read_ivf(IndexFolder(tmp_path / "x", verify=True), whole)
    folder.drop(IVF)  # then none is listed, as in older folders
    quantizer, codes = from_faiss(whole, "x")
    faiss.write_index(build_ivf(to_faiss(quantizer, np.ascontiguousarray(codes[::-1])), "x", 12), str(path))
    with pytest.raises(IndexFolderError, match="hold other codes than the index; make them again"):
        read_ivf(folder, whole)
    for damaged in (whole_file[:5000], b"", (tmp_path / "x" / "index").read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(IndexFolderError, match=r"damaged|no inverted lists"):
            read_ivf(folder, whole)


@pytest.mark.unit
@pytest.mark.parametrize("part", ["whole", "lists", "directions", "rotation"])
def test_a_file_that_says_it_is_not_trained_is_damaged(tmp_path, part):
    quantizer, codes, _ = random_index(m=4, dimension=16)
    index = build_ivf(to_faiss(quantizer, codes), "x", 5)
    inner = faiss.downcast_index(index.index)
    parts = {"whole": index, "lists": inner, "directions": inner.quantizer, "rotation": index.chain.at(0)}
    write_faiss(index, tmp_path / "right")
    assert read_faiss(tmp_path / "right").ntotal == len(codes)
    parts[part].is_trained = False
    write_faiss(index, tmp_path / "x")
    with pytest.raises(IndexFolderError, match="x is no faiss index, or damaged: a part of it is not trained"):
        read_faiss(tmp_path / "x", mapped=True)


@pytest.mark.integration
def test_the_commands(built, tiny_collection, tmp_path, capsys):
    import shutil

    from pyserini_jpq.data.runs import read_run

    index = tmp_path / "x"
    shutil.copytree(built / "x.jpq-m4", index)
    encoder = built / "enc" / "x.jpq-m4"
    topics = tiny_collection / "topics.dev.tsv"
    flags = ("search", "--topics", topics, "--encoder", encoder, "--overwrite", "--output", tmp_path / "run.txt")

    def found(*more):
        assert run(*flags, "--index", index, *more) == 0
        return {q: set(hits) for q, hits in read_run(str(tmp_path / "run.txt")).items()}

    exact = found("--hits", 20)
    assert found("--hits", 20, "--ivf", 9, "--nprobe", 9) == exact
    assert "sorting" not in capsys.readouterr().err
    part = found("--hits", 300, "--ivf", 9, "--nprobe", 2)
    assert "into 9 lists" in capsys.readouterr().err
    assert all(0 < len(hits) < 300 for hits in part.values())
    assert run(*flags, "--index", index, "--nprobe", 2) == 2 and "has no inverted" in capsys.readouterr().err
    assert run("index", "--index", index, "--ivf", 9) == 0
    capsys.readouterr()
    assert found("--hits", 300, "--nprobe", 2) == part == found("--hits", 300, "--ivf", 9, "--nprobe", 2)
    assert found("--ivf", 9) == found("--ivf", 9, "--nprobe", default_nprobe(9))
    assert "sorting" not in capsys.readouterr().err
    assert found("--hits", 20) == exact
    wrong = [
        ((*flags, "--index", index), ("--nprobe", 10), "from 1 to 9"),
        ((*flags, "--index", index), ("--ivf", 301, "--nprobe", 1), "too few for 301 lists"),
        ((*flags, "--index", index), ("--ivf", 0), "not at least 1"),
        ((*flags, "--index", index), ("--ivf", 9, "--faiss-device", "cuda:0"), "on the CPU only"),
        ((*flags, "--index", built / "embeddings"), ("--ivf", 9), "need an index"),
        (("index", "--ivf", 9), ("--embeddings", built / "embeddings"), "--index alone"),
        (("index", "--ivf", 9), ("--index", index, "--delete", "d1"), "--index alone"),
    ]
    for command, more, message in wrong:
        assert run(*command, *more) == 2
        err = capsys.readouterr().err
        assert message in err and err.splitlines()[-1].count("error:") == 1
    assert not list(tmp_path.glob("*.partial"))

"""Indexes from and to faiss: rankings before and after are the same, bit for bit."""

import json
import os
import sys

import faiss
import numpy as np
import pytest

from pyserini_jpq.convert.exporting import export_faiss, export_jpq
from pyserini_jpq.convert.foreign import read_foreign
from pyserini_jpq.convert.importing import import_faiss, import_jpq
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import ConversionError, IndexFolderError, OutputError
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.folder import IndexFolder
from tests.conftest import make_embeddings
from tests.convert.authors import authors_index, train_as_authors

pytestmark = pytest.mark.integration
SIZES = {16: 64, 96: 96}
KEPT = []  # faiss frees what Python no longer holds


def vectors_of(rows, d, seed=0):
    return (np.random.default_rng(seed).normal(size=(rows, d)) + 0.5).astype(np.float32)


@pytest.fixture(scope="module", params=sorted(SIZES))
def published(request, tmp_path_factory):
    """An index before the authors' training and after it, in files as they write them."""
    folder, m = tmp_path_factory.mktemp("authors"), request.param
    vectors = vectors_of(700, SIZES[m])
    vectors[600:] = vectors[:100]  # as there are passages that come twice: their scores are equal
    index = authors_index(vectors, m)
    faiss.write_index(index, str(folder / "before.index"))
    train_as_authors(index, m)
    faiss.write_index(index, str(folder / "after.index"))
    return folder, m


def same_ranking(one, other, docids=None):
    """Check that two faiss indexes give the same documents with the same scores, whatever k and the batch are."""
    for batch, k in ((1, 700), (30, 100)):
        queries = vectors_of(batch, one.d, seed=9)
        scores, rows = one.search(queries, k)
        other_scores, other_rows = other.search(queries, k)
        assert np.array_equal(scores, other_scores)
        assert np.array_equal(rows, other_rows)


def test_published_index_there_and_back(published, tmp_path):
    folder, m = published
    path = folder / "after.index"
    original = faiss.read_index(str(path))
    index = import_jpq(path, tmp_path / "x")
    assert (index.manifest.m, index.manifest.bits, index.manifest.bytes_per_document) == (m, 8, m)
    assert not index.manifest.initial_centroids_known and index.manifest.training == {"imported_from": "after.index"}
    assert IndexFolder(tmp_path / "x", verify=True).docids() == [str(i) for i in range(700)]
    same_ranking(original, faiss.read_index(str(tmp_path / "x" / "index")))

    export_jpq(index, tmp_path / "again.index")
    exported = faiss.read_index(str(tmp_path / "again.index"))
    same_ranking(original, exported)
    assert isinstance(faiss.downcast_index(exported.index), faiss.IndexIVFPQ)
    # The authors' code reads list 0 and adds the coarse centroid, which has to be zero, to the others.
    assert (tmp_path / "again.index").read_bytes() == path.read_bytes()
    export_faiss(index, tmp_path / "plain.index")
    same_ranking(original, faiss.read_index(str(tmp_path / "plain.index")))
    with pytest.raises(OutputError, match="exists already"):
        export_jpq(index, tmp_path / "again.index")
    with pytest.raises(IndexFolderError, match="--initial-index"):
        export_jpq(index, tmp_path / "initial.index", initial=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.index", "plain.index", "x"]


def test_biases_go_there_and_back(built, tmp_path):
    index = IndexFolder(built / "x.jpq-m4")
    original = faiss.read_index(str(index.path / "index"))
    export_jpq(index, tmp_path / "theirs.index")
    export_faiss(index, tmp_path / "plain.index")
    export_jpq(index, tmp_path / "initial.index", initial=True)
    for name in ("theirs.index", "plain.index"):
        same_ranking(original, faiss.read_index(str(tmp_path / name)))
        back = import_jpq(tmp_path / name, tmp_path / f"{name}.folder")
        assert back.manifest.dimension == index.manifest.dimension
        same_ranking(original, faiss.read_index(str(back.path / "index")))
    before = IndexFolder(built / "x.opq-m4")
    same_ranking(faiss.read_index(str(before.path / "index")), faiss.read_index(str(tmp_path / "initial.index")))


def test_index_before_training_has_its_coarse_centroid_folded_in(published, tmp_path):
    folder, _ = published
    index = import_jpq(folder / "before.index", tmp_path / "x")
    assert index.manifest.training is None and index.manifest.initial_centroids_known
    original = faiss.read_index(str(folder / "before.index"))
    ours = faiss.read_index(str(tmp_path / "x" / "index"))
    queries = vectors_of(20, original.d, seed=3)
    (scores, rows), (own_scores, own_rows) = original.search(queries, 700), ours.search(queries, 700)
    # One more addition in float32: documents may change places only where scores are equal up to that.
    assert np.allclose(scores, own_scores, atol=1e-4, rtol=1e-5)
    moved = rows != own_rows
    assert moved.mean() < 0.02
    folded = read_foreign(folder / "before.index").quantizer.centroids
    assert np.array_equal(index.initial_centroids(), folded)
    assert np.array_equal(from_faiss(whole := read_faiss(tmp_path / "x" / "index"), "x")[0].centroids, folded)
    assert whole.ntotal == 700


def test_documents_are_appended_where_the_first_index_is_given(published, tmp_path):
    folder, m = published
    index = import_jpq(folder / "after.index", tmp_path / "x", initial_index=folder / "before.index")
    assert index.manifest.initial_centroids_known
    vectors = vectors_of(600, SIZES[m])
    new = Embeddings(make_embeddings(tmp_path / "e", vectors, [f"n{i}" for i in range(600)]))
    change_index(index, new, any_encoder=True)
    codes = from_faiss(whole := read_faiss(tmp_path / "x" / "index"), "x")[1]
    # The same vectors again get the codes that faiss gave them, or one that is as near: k-means on few points leaves
    # pairs of centroids at the same distance on two sides of a point.
    assert np.mean(codes[:600] == codes[700:]) > 0.99 and whole.ntotal == 1300
    before = read_foreign(folder / "before.index").quantizer
    parts = before.rotate(vectors).reshape(600, m, -1)
    faiss_gave, we_gave = (
        ((parts - before.decode(given).reshape(parts.shape)) ** 2).sum(-1) for given in (codes[:600], codes[700:])
    )
    assert np.allclose(faiss_gave, we_gave, rtol=1e-4, atol=1e-5)
    export_jpq(IndexFolder(tmp_path / "x"), tmp_path / "initial.index", initial=True)
    again = read_foreign(tmp_path / "initial.index")
    assert np.array_equal(again.quantizer.centroids, index.initial_centroids())
    with pytest.raises(ConversionError, match="is not the index that training started from"):
        import_jpq(folder / "after.index", tmp_path / "y", initial_index=tmp_path / "initial.index")


def plain_pq(d=24, m=6, metric=faiss.METRIC_INNER_PRODUCT, rows=500, rotation=False, wrap=None):
    vectors = vectors_of(rows, d)
    index = faiss.IndexPQ(d, m, 8, metric)
    index.pq.cp.niter = 1
    if rotation:
        transform = faiss.RandomRotationMatrix(d, d)
        transform.init(3)
        KEPT.append(index)
        index = faiss.IndexPreTransform(transform, index)
        KEPT.append(transform)
    index.train(vectors)
    if wrap:
        KEPT.append(index)
        whole = wrap(index)
        whole.add_with_ids(vectors, np.random.default_rng(1).permutation(np.arange(rows) * 3))
        return whole
    index.add(vectors)
    return index


@pytest.mark.parametrize("rotation", [False, True])
def test_plain_faiss(tmp_path, rotation):
    index = plain_pq(rotation=rotation)
    faiss.write_index(index, str(tmp_path / "pq"))
    imported = import_faiss(tmp_path / "pq", tmp_path / "x", [f"d{i}" for i in range(500)])
    same_ranking_of = faiss.read_index(str(tmp_path / "x" / "index"))
    queries = vectors_of(5, 24, seed=2)
    (scores, rows), (own_scores, own_rows) = index.search(queries, 500), same_ranking_of.search(queries, 500)
    assert np.allclose(scores, own_scores, atol=1e-4)
    assert rotation or np.array_equal(rows, own_rows)
    assert (rows != own_rows).mean() < 0.02
    assert imported.manifest.training is None and imported.manifest.initial_centroids_known
    assert imported.docids()[7] == "d7"


@pytest.mark.parametrize("wrap", [faiss.IndexIDMap, faiss.IndexIDMap2])
def test_ids_of_a_map_decide_the_order(tmp_path, wrap):
    index = plain_pq(wrap=wrap)
    faiss.write_index(index, str(tmp_path / "pq"))
    imported = import_faiss(tmp_path / "pq", tmp_path / "x")
    assert imported.docids() == [str(3 * i) for i in range(500)]
    queries = vectors_of(5, 24, seed=2)
    scores, ids = index.search(queries, 500)
    own_scores, rows = faiss.read_index(str(tmp_path / "x" / "index")).search(queries, 500)
    assert np.array_equal(scores, own_scores)
    # Equal scores come in the order of rows, which is another one here.
    different = ids != 3 * rows
    assert np.array_equal(scores[different], own_scores[different]) and different.mean() < 0.05


def test_lists_without_residuals_are_joined(tmp_path):
    vectors = vectors_of(600, 16)
    coarse = faiss.IndexFlatIP(16)
    index = faiss.IndexIVFPQ(coarse, 16, 3, 4, 8, faiss.METRIC_INNER_PRODUCT)
    index.by_residual, index.pq.cp.niter = False, 1
    index.train(vectors)
    index.add(vectors)
    index.nprobe = 3
    faiss.write_index(index, str(tmp_path / "ivf"))
    import_faiss(tmp_path / "ivf", tmp_path / "x")
    queries = vectors_of(5, 16, seed=2)
    scores, _ = index.search(queries, 600)
    own, rows = faiss.read_index(str(tmp_path / "x" / "index")).search(queries, 600)
    assert np.allclose(scores, own, atol=1e-5) and set(rows[0]) == set(range(600))
    with pytest.raises(ConversionError, match="3 inverted lists, each with a centroid"):
        index.by_residual = True
        faiss.write_index(index, str(tmp_path / "ivf"))
        read_foreign(tmp_path / "ivf")


def test_l2_is_refused_and_taken_on_request(tmp_path):
    faiss.write_index(plain_pq(metric=faiss.METRIC_L2), str(tmp_path / "pq"))
    with pytest.raises(ConversionError, match=r"ranks by L2 distance.*rankings would change.*--any-metric"):
        import_faiss(tmp_path / "pq", tmp_path / "x")
    with pytest.raises(ConversionError, match="an index of the authors' ranks by inner product"):
        import_jpq(tmp_path / "pq", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    index = import_faiss(tmp_path / "pq", tmp_path / "x", any_metric=True)
    original = faiss.read_index(str(tmp_path / "pq"))
    codes = from_faiss(whole := read_faiss(index.path / "index"), "x")[1]
    assert np.array_equal(codes, faiss.vector_to_array(original.codes).reshape(500, 6)) and whole.ntotal == 500


def transformed(transform):
    KEPT.extend([transform, plain_pq(d=transform.d_out, m=2)])
    index = faiss.IndexPreTransform(*KEPT[-2:])
    index.ntotal = 500
    return index


def scaled(d):
    transform = faiss.LinearTransform(d, d, False)
    faiss.copy_array_to_vector(2 * np.eye(d, dtype=np.float32).ravel(), transform.A)
    transform.is_trained = True
    return transform


def with_ids(*ids):
    KEPT.append(plain_pq())
    KEPT[-1].reset()
    index = faiss.IndexIDMap(KEPT[-1])
    index.add_with_ids(vectors_of(len(ids), 24), np.array(ids))
    return index


def smaller():
    transform = faiss.RandomRotationMatrix(24, 12)
    transform.init(0)
    return transformed(transform)


def four_bits():
    index = faiss.IndexPQ(24, 6, 4, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.niter = 1
    index.train(vectors_of(300, 24))
    index.add(vectors_of(300, 24))
    return index


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: faiss.IndexFlatIP(8), "is a IndexFlat"),
        (lambda: faiss.IndexHNSWPQ(24, 6, 4), "is a IndexHNSWPQ"),
        (lambda: faiss.IndexPQ(24, 6, 8, faiss.METRIC_INNER_PRODUCT), "holds no document"),
        (four_bits, "codes of 4 bits"),
        (lambda: transformed(faiss.NormalizationTransform(24)), "by a NormalizationTransform first"),
        (lambda: transformed(scaled(24)), "that is no rotation"),
        (smaller, "takes 24 dimensions down to 12"),
        (lambda: with_ids(4, 5, 4), "holds the id 4 twice"),
        (lambda: with_ids(-4, 5), "id -4 .below 0."),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path, make, message):
    faiss.write_index(make(), str(tmp_path / "index"))
    with pytest.raises(ConversionError, match=message) as problem:
        read_foreign(tmp_path)
    assert "\n" not in str(problem.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConversionError, match="does not exist"):
        read_foreign(tmp_path / "nowhere")
    (tmp_path / "index").write_bytes(b"no index")
    with pytest.raises(IndexFolderError, match="no faiss index, or damaged"):
        read_foreign(tmp_path)
    faiss.write_index(plain_pq(), str(tmp_path / "index"))
    whole = (tmp_path / "index").read_bytes()
    (tmp_path / "index").write_bytes(whole[:-1000])
    with pytest.raises(IndexFolderError, match="no faiss index, or damaged"):
        import_faiss(tmp_path, tmp_path / "x")
    (tmp_path / "index").write_bytes(whole)
    with pytest.raises(ConversionError, match="3 docids for the 500 documents"):
        import_faiss(tmp_path, tmp_path / "x", ["a", "b", "c"])
    assert not (tmp_path / "x").exists()


def test_interrupted_import_goes_on(tmp_path, monkeypatch):
    from pyserini_jpq.index import writing

    faiss.write_index(plain_pq(), str(tmp_path / "pq"))
    import_faiss(tmp_path / "pq", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(
            "pyserini_jpq.convert.importing.write_docids", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            import_faiss(tmp_path / "pq", tmp_path / "x")
    assert not (tmp_path / "x").exists() and writing.BLOCK
    import_faiss(tmp_path / "pq", tmp_path / "x")
    for name in ("index", "docid", "initial_centroids.npy"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    manifest = json.loads((tmp_path / "x" / "jpq.json").read_text())
    assert manifest["query_encoder"] == {"name": None, "card": None, "sha256": None, "folder": None}


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda _: "x")
    faiss.write_index(plain_pq(), str(tmp_path / "pq"))
    index = import_faiss(tmp_path / "pq", tmp_path / "x")
    with pytest.raises(OutputError, match="cannot be written"):
        (tmp_path / f".out.{os.getpid()}-x.partial").mkdir()
        export_faiss(index, tmp_path / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
@pytest.mark.parametrize("missing", [1, 5000, "all"])
@pytest.mark.parametrize("export", [export_faiss, export_jpq])
def test_a_file_that_would_be_cut_is_not_written(tmp_path, export, missing):
    import resource

    faiss.write_index(plain_pq(), str(tmp_path / "pq"))
    index = import_faiss(tmp_path / "pq", tmp_path / "x")
    export(index, tmp_path / "whole")
    size = (tmp_path / "whole").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0 if missing == "all" else size - missing, before[1]))
    try:
        with pytest.raises(OutputError, match="out cannot be written: File too large"):
            export(index, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]

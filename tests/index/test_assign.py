import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_jpq.index.assign import Assigner
from pyserini_jpq.quantizer import ProductQuantizer

pytestmark = pytest.mark.property


@settings(max_examples=40)
@given(
    m=st.integers(1, 6),
    width=st.sampled_from([1, 5, 15, 16, 33]),
    cuts=st.lists(st.integers(0, 700), max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_grouping_of_rows_changes_nothing(m, width, cuts, seed):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(m * width, m * width)))[0].astype(np.float32)
    quantizer = ProductQuantizer(rotation, rng.normal(size=(m, 256, width)).astype(np.float32))
    vectors = rng.normal(size=(700, m * width)).astype(np.float32)
    assigner = Assigner(quantizer)
    at_once = assigner.assign(vectors)
    parts = [assigner.assign(part) for part in np.split(vectors, sorted(cuts)) if len(part)]
    assert np.array_equal(np.concatenate(parts), at_once)
    # Where the reference picks another centroid, both are equally near, as far as float32 can tell.
    reference = quantizer.assign(vectors)
    rows, subspaces = np.nonzero(reference != at_once)
    parts_of = quantizer.rotate(vectors).reshape(700, m, width)[rows, subspaces]
    near, nearest = (
        ((parts_of - quantizer.centroids[subspaces, codes[rows, subspaces]]) ** 2).sum(-1)
        for codes in (at_once, reference)
    )
    assert np.allclose(near, nearest, rtol=1e-4, atol=1e-5)


def test_faiss_is_left_as_it_was():
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    quantizer = ProductQuantizer(np.eye(16, dtype=np.float32), np.ones((1, 4, 16), dtype=np.float32))
    assert Assigner(quantizer).assign(np.ones((3, 16), dtype=np.float32)).tolist() == [[0], [0], [0]]
    assert faiss.cvar.distance_compute_blas_threshold == before

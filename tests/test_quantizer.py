import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_jpq.errors import IndexFolderError, QuantizerError
from pyserini_jpq.index.assign import Assigner
from pyserini_jpq.index.faiss_format import file_frame, from_faiss, pack, parts_of, to_faiss, unpack
from pyserini_jpq.index.opq import check_shape, train_opq
from pyserini_jpq.quantizer import ProductQuantizer

pytestmark = pytest.mark.property


@st.composite
def quantizers(draw, k=256):
    m, size, biased = draw(st.integers(1, 8)), draw(st.integers(1, 6)), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rotation = np.linalg.qr(rng.normal(size=(m * size, m * size)))[0].astype(np.float32)
    biases = rng.normal(size=(m, k)).astype(np.float32) if biased else None
    return ProductQuantizer(rotation, rng.normal(size=(m, k, size)).astype(np.float32), biases), rng


def products(quantizer, queries, codes):
    """Scores the long way: inner products with decoded documents, and the biases of their codes."""
    exact = quantizer.rotate(queries) @ quantizer.decode(codes).T
    biases = 0.0 if quantizer.biases is None else quantizer.biases[np.arange(quantizer.m), codes].sum(axis=1)
    return exact + biases


@settings(max_examples=300)
@given(quantizers(), st.integers(1, 40), st.integers(1, 50))
def test_scores_are_products_with_the_decoded_document_and_biases(pair, documents, k):
    quantizer, rng = pair
    codes = rng.integers(0, 256, (documents, quantizer.m)).astype(np.uint8)
    queries = rng.normal(size=(3, quantizer.dimension)).astype(np.float32)
    exact = products(quantizer, queries, codes)
    assert np.abs(quantizer.score(queries, codes) - exact).max() < 1e-4
    scores, offsets = quantizer.search(queries, codes, k)
    found, rows = to_faiss(quantizer, codes).search(queries, min(k, documents))
    assert scores.shape == (3, min(k, documents))
    assert np.abs(found - scores).max() < 1e-4
    assert np.abs(np.take_along_axis(exact, rows, axis=1) - scores).max() < 1e-4
    assert np.abs(np.take_along_axis(exact, offsets, axis=1) - scores).max() < 1e-4


@settings(max_examples=50)
@given(quantizers())
def test_assignment_is_nearest_and_idempotent(pair):
    quantizer, rng = pair
    vectors = rng.normal(size=(20, quantizer.dimension)).astype(np.float32)
    codes = quantizer.assign(vectors)
    parts = quantizer.rotate(vectors).reshape(20, quantizer.m, 1, -1)
    distances = ((parts - quantizer.centroids) ** 2).sum(-1)
    best = distances.min(-1)
    assert np.allclose(np.take_along_axis(distances, codes[:, :, None].astype(int), 2)[..., 0], best, atol=1e-4)
    again = quantizer.assign(quantizer.decode(codes) @ quantizer.rotation)
    assert np.allclose(quantizer.decode(again), quantizer.decode(codes), atol=1e-3)
    by_faiss = Assigner(quantizer).assign(vectors)
    picked = np.take_along_axis(distances, by_faiss[:, :, None].astype(int), 2)[..., 0]
    assert np.allclose(picked, best, atol=1e-4)


@settings(max_examples=25)
@given(st.sampled_from([16, 256]).flatmap(quantizers), st.integers(0, 70))
def test_streamed_file_is_what_faiss_writes(pair, documents):
    quantizer, rng = pair
    codes = rng.integers(0, quantizer.k, (documents, quantizer.m)).astype(np.uint8)
    head, tail = file_frame(quantizer, documents)
    assert (
        head + pack(codes, quantizer.bits).tobytes() + tail
        == faiss.serialize_index(to_faiss(quantizer, codes)).tobytes()
    )
    index = to_faiss(quantizer, codes)
    back, back_codes = from_faiss(index, "here")
    assert np.array_equal(back.centroids, quantizer.centroids) and np.array_equal(back.rotation, quantizer.rotation)
    assert (back.biases is None) == (quantizer.biases is None)
    assert back.biases is None or np.array_equal(back.biases, quantizer.biases)
    vectors = faiss.deserialize_index(faiss.serialize_index(index)).reconstruct_n(0, documents) if documents else []
    decoded = quantizer.decode(codes) @ quantizer.rotation
    assert documents == 0 or np.allclose(vectors, decoded, atol=1e-4)
    assert np.array_equal(back_codes, codes)


@settings(max_examples=25)
@given(st.sampled_from([16, 256]).flatmap(quantizers))
def test_assigned_codes_are_packed_and_unpacked(pair):
    quantizer, rng = pair
    vectors = rng.normal(size=(20, quantizer.dimension)).astype(np.float32)
    codes = Assigner(quantizer).assign(vectors)
    packed = pack(codes, quantizer.bits)
    assert codes.shape == (20, quantizer.m) and packed.shape == (20, quantizer.bytes_per_document)
    assert np.array_equal(unpack(packed, quantizer.m, quantizer.bits), codes) and (codes < quantizer.k).all()
    exact = (quantizer.rotate(vectors) - quantizer.decode(quantizer.assign(vectors))) ** 2
    assert np.allclose(((quantizer.rotate(vectors) - quantizer.decode(codes)) ** 2).sum(1), exact.sum(1), atol=1e-3)


def test_codes_of_other_bits_are_refused():
    for change in (lambda codes: pack(codes, 5), lambda codes: unpack(codes, 3, 5)):
        with pytest.raises(QuantizerError, match="only 4 and 8"):
            change(np.zeros((2, 3), dtype=np.uint8))


def test_ties_go_to_the_earlier_row():
    quantizer = ProductQuantizer(np.eye(2, dtype=np.float32), np.ones((1, 2, 2), dtype=np.float32))
    _, offsets = quantizer.search(np.ones((1, 2), dtype=np.float32), np.zeros((5, 1), dtype=np.uint8), 4)
    assert offsets.tolist() == [[0, 1, 2, 3]]


def test_wrong_shapes_are_refused():
    eye = np.eye(4, dtype=np.float32)
    with pytest.raises(QuantizerError, match="do not fit"):
        ProductQuantizer(eye, np.zeros((2, 4, 3), dtype=np.float32))
    with pytest.raises(QuantizerError, match="power of two"):
        ProductQuantizer(eye, np.zeros((2, 3, 2), dtype=np.float32))
    with pytest.raises(QuantizerError, match="NaN"):
        ProductQuantizer(eye, np.full((2, 4, 2), np.nan, dtype=np.float32))
    with pytest.raises(QuantizerError, match=r"biases .* do not fit"):
        ProductQuantizer(eye, np.zeros((2, 4, 2), dtype=np.float32), np.zeros((4, 2), dtype=np.float32))
    with pytest.raises(QuantizerError, match="NaN"):
        ProductQuantizer(eye, np.zeros((2, 4, 2), dtype=np.float32), np.full((2, 4), np.inf, dtype=np.float32))
    with pytest.raises(QuantizerError, match="nearest that do: 2, 3, 4, 6"):
        check_shape(24, 5, 8, 1000)
    with pytest.raises(QuantizerError, match="fewer than the 256 centroids"):
        check_shape(24, 4, 8, 255)
    with pytest.raises(IndexFolderError, match="no rotation followed by an IndexPQ"):
        parts_of(faiss.IndexFlatIP(4), "x")


@pytest.mark.parametrize("change", ["ones", "places", "size", "odd size"])
def test_what_spreads_a_query_must_be_ours(change):
    rng = np.random.default_rng(0)
    quantizer = ProductQuantizer(np.eye(4, dtype=np.float32), rng.random((2, 16, 2), np.float32), rng.random((2, 16)))
    whole = to_faiss(quantizer, np.zeros((3, 2), dtype=np.uint8))
    _, zeros, ones, inner = whole.referenced_objects
    assert parts_of(whole, "x")[1].pq.dsub == inner.pq.dsub == 3
    if change == "ones":
        faiss.copy_array_to_vector(np.full(6, 0.5, dtype=np.float32), ones.mean)
    else:
        places = {"places": [1, 0, -1, 2, 3, -1], "size": [0, 1, 2, 3], "odd size": [0, 1, 2, 3, -1, -1, -1]}[change]
        faiss.copy_array_to_vector(np.array(places, dtype=np.int32), zeros.map)
    with pytest.raises(IndexFolderError, match="no rotation followed by an IndexPQ"):
        parts_of(whole, "x")


def test_training_beats_random_centroids_and_is_quiet(capfd):
    rng = np.random.default_rng(0)
    sample = (rng.normal(size=(400, 16)) @ rng.normal(size=(16, 16))).astype(np.float32)
    quantizer = train_opq(sample, 4, 8, seed=1, rounds=5)
    assert np.allclose(quantizer.rotation @ quantizer.rotation.T, np.eye(16), atol=1e-4)
    error = ((quantizer.rotate(sample) - quantizer.decode(quantizer.assign(sample))) ** 2).sum(1).mean()
    assert error < 0.1 * (sample**2).sum(1).mean()
    assert "WARNING" not in "".join(capfd.readouterr())
    again = train_opq(sample, 4, 8, seed=1, rounds=5)
    assert np.array_equal(again.assign(sample), quantizer.assign(sample))
    assert (quantizer.bits, quantizer.bytes_per_document) == (8, 4)

"""Documents that are mapped before codes are assigned: the index keeps the map, and maps new documents by itself."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from pyserini_jpq.convert.exporting import export_faiss
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import ConversionError, IndexFolderError
from pyserini_jpq.index.assign import assigning_quantizer
from pyserini_jpq.index.build import build_from
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.faiss_format import from_faiss
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import DOCUMENT_MAP, MANIFEST, write_manifest
from tests.conftest import make_embeddings, make_index

pytestmark = pytest.mark.unit

VECTORS = np.random.default_rng(1).normal(size=(400, 16)).astype(np.float32)
DOCIDS = [f"d{i}" for i in range(400)]
MAP = np.random.default_rng(2).normal(size=(16, 16)).astype(np.float32)


@pytest.fixture
def mapped(tmp_path):
    """An index of 300 documents that has a map, which its codes do not follow."""
    folder = make_index(tmp_path / "x", VECTORS[:300], DOCIDS[:300])
    np.save(folder / DOCUMENT_MAP, MAP)
    write_manifest(folder, dataclasses.replace(IndexFolder(folder).manifest, documents_mapped=True))
    return folder


def expected(index, vectors):
    """Return the nearest initial centroids of mapped vectors."""
    centroids = index.initial_centroids()
    parts = (vectors.astype(np.float64) @ MAP.T.astype(np.float64)).reshape(len(vectors), 4, -1)
    return ((parts[:, :, None] - centroids[None]) ** 2).sum(axis=3).argmin(axis=2)


def codes_of(folder):
    index = IndexFolder(folder, verify=True)
    quantizer, codes = from_faiss(whole := index.read(), folder)
    assert np.array_equal(assigning_quantizer(index, quantizer).rotation, MAP)
    assert not np.array_equal(quantizer.rotation, MAP) and whole
    return index, codes.copy()


def test_appended_documents_are_mapped(mapped, tmp_path):
    _, before = codes_of(mapped)
    new = Embeddings(make_embeddings(tmp_path / "new", VECTORS[300:], DOCIDS[300:]))
    change_index(IndexFolder(mapped), new, delete=["d0"])
    index, codes = codes_of(mapped)
    assert np.array_equal(codes[:299], before[1:])
    assert np.array_equal(codes[299:], expected(index, VECTORS[300:]))


def test_an_index_of_other_documents_maps_them(mapped, tmp_path):
    new = Embeddings(make_embeddings(tmp_path / "new", VECTORS[300:], DOCIDS[300:]))
    build_from(IndexFolder(mapped), new, tmp_path / "y")
    index, codes = codes_of(tmp_path / "y")
    assert np.array_equal(codes, expected(index, VECTORS[300:]))


def test_a_map_that_is_missing_or_of_another_shape_is_refused(mapped, tmp_path):
    shutil.copytree(mapped, tmp_path / "y")
    np.save(tmp_path / "y" / DOCUMENT_MAP, MAP[:8])
    write_manifest(tmp_path / "y", IndexFolder(mapped).manifest)
    with pytest.raises(IndexFolderError, match="shape"):
        IndexFolder(tmp_path / "y").document_map()
    (mapped / DOCUMENT_MAP).unlink()
    with pytest.raises(IndexFolderError, match="missing"):
        IndexFolder(mapped)
    values = json.loads((mapped / MANIFEST).read_text())
    (mapped / MANIFEST).write_text(json.dumps({**values, "documents_mapped": "yes"}))
    with pytest.raises(IndexFolderError, match="documents_mapped"):
        IndexFolder(mapped)


def test_a_faiss_file_of_initial_centroids_could_not_say_so(mapped, tmp_path):
    export_faiss(IndexFolder(mapped), tmp_path / "trained.faiss")
    with pytest.raises(ConversionError, match="mapped"):
        export_faiss(IndexFolder(mapped), tmp_path / "initial.faiss", initial=True)

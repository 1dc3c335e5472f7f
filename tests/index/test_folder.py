import json
import os
import shutil

import faiss
import pytest

from pyserini_jpq.errors import IndexFolderError
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import write_manifest
from pyserini_jpq.trust.places import seen_from

pytestmark = pytest.mark.unit


def test_paths_are_noted_as_seen_from_the_index(tmp_path):
    (tmp_path / "deep" / "indexes").mkdir(parents=True)
    index = tmp_path / "deep" / "indexes" / "x"
    noted = seen_from(index, tmp_path / "embeddings" / "x")
    assert noted == "../../../embeddings/x"
    os.symlink(tmp_path / "deep", tmp_path / "link")
    assert seen_from(tmp_path / "link" / "indexes" / "x", tmp_path / "embeddings" / "x") == noted


def test_folders_without_embeddings_still_open(built, tmp_path):
    folder = tmp_path / "deeper" / "x"
    shutil.copytree(built / "x.opq-m4", folder)
    manifest = json.loads((folder / "jpq.json").read_text())
    assert manifest.pop("embeddings") == "../embeddings"
    (folder / "jpq.json").write_text(json.dumps(manifest))
    assert IndexFolder(folder).embeddings() is None


@pytest.mark.parametrize(("field", "value"), [("documents", 3), ("m", 8), ("bits", 4), ("bytes_per_document", 5)])
def test_a_manifest_of_another_index_is_noticed(built, tmp_path, field, value):
    shutil.copytree(built / "x.opq-m4", tmp_path / "x")
    manifest = json.loads((tmp_path / "x" / "jpq.json").read_text())
    (tmp_path / "x" / "jpq.json").write_text(json.dumps({**manifest, field: value}))
    with pytest.raises(IndexFolderError, match=f"{field} {manifest[field]}, not {value}"):
        IndexFolder(tmp_path / "x").read()


def test_an_index_of_another_kind_is_noticed(built, tmp_path):
    shutil.copytree(built / "x.opq-m4", tmp_path / "x")
    other = faiss.IndexFlatIP(8)
    faiss.write_index(other, str(tmp_path / "x" / "index"))
    write_manifest(tmp_path / "x", IndexFolder(built / "x.opq-m4").manifest)
    with pytest.raises(IndexFolderError, match="no rotation followed by an IndexPQ"):
        IndexFolder(tmp_path / "x").read()

import json
import os
import shutil

import pytest

from pyserini_jpq.index.folder import IndexFolder, seen_from

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

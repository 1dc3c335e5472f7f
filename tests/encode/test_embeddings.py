import json
import sys

import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings, row_file
from pyserini_jpq.errors import EmbeddingsError

pytestmark = pytest.mark.unit


def make(folder, files=2, rows=10, dimension=4):
    """Write embeddings 0, 1, 2, ... in files of so many rows."""
    folder.mkdir()
    values = np.arange(files * rows * dimension, dtype=np.float32).reshape(-1, dimension)
    for start in range(0, len(values), rows):
        file = row_file(folder, start)
        np.save(file.npy, values[start : start + rows])
        file.docid.write_text("".join(f"d{i}\n" for i in range(start, start + rows)))
    encoder = {"name": "x", "card": {}, "sha256": ""}
    manifest = {"schema": 1, "documents": len(values), "dimension": dimension, "encoder": encoder}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return values


def test_rows_come_in_order_and_again(tmp_path):
    values = make(tmp_path / "e")
    embeddings = Embeddings(tmp_path / "e")
    for rows in (3, 10, 1000):
        assert np.array_equal(np.concatenate(list(embeddings.blocks(rows))), values)
    assert np.array_equal(embeddings.sample(20, 0), values)
    sample = embeddings.sample(7, 0)
    assert len(sample) == 7 and np.array_equal(sample, values[np.unique(sample[:, 0] // 4).astype(int)])
    assert list(embeddings.docids()) == [f"d{i}" for i in range(20)]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        ('{"schema": 1}', "damaged"),
        ('{"schema": 1, "documents": "20", "dimension": 4, "encoder": {}}', "damaged"),
        ('{"schema": 1, "documents": 20, "dimension": 4, "encoder": null}', "damaged"),
        ('{"schema": 9}', "schema 9"),
    ],
)
def test_manifests_that_cannot_be(tmp_path, content, part):
    make(tmp_path / "e")
    (tmp_path / "e" / MANIFEST).write_text(content)
    with pytest.raises(EmbeddingsError, match=part):
        Embeddings(tmp_path / "e")


@pytest.mark.parametrize("size", [0, 5, 100, 200])
def test_files_cut_short(tmp_path, size):
    make(tmp_path / "e")
    path = row_file(tmp_path / "e", 10).npy
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(EmbeddingsError, match="cannot be read"):
        Embeddings(tmp_path / "e")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_rows_that_were_read_do_not_stay_in_memory(tmp_path):
    def resident():
        """Mapped files that this process holds in memory, in MB."""
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssFile")) / 1024

    make(tmp_path / "e", files=16, rows=1024, dimension=1024)
    embeddings = Embeddings(tmp_path / "e")
    before = resident()
    for _ in embeddings.blocks(256):
        pass
    embeddings.sample(15_000, 0)
    assert resident() - before < 16  # of 64

import json
import pickle
import sys

import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import MANIFEST, Embeddings
from pyserini_jpq.encode.row_files import row_file
from pyserini_jpq.errors import EmbeddingsError
from tests.processes import forked

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


def rows(folder, start, count, dimension=4):
    file = row_file(folder, start)
    np.save(file.npy, np.ones((count, dimension), dtype=np.float32))
    file.docid.write_text("".join(f"x{i}\n" for i in range(count)))


def test_rows_must_follow_each_other(tmp_path):
    make(tmp_path / "e", files=3)
    folder = tmp_path / "e"
    rows(folder, 15, 3)
    with pytest.raises(EmbeddingsError, match=r"rows 15 to 17 twice, the second time in rows-0000000015.npy"):
        Embeddings(folder)
    row_file(folder, 15).npy.unlink()
    for start in (30, 40):
        rows(folder, start, 2)
        with pytest.raises(EmbeddingsError, match="more rows than its 30 documents"):
            Embeddings(folder)
        row_file(folder, start).npy.unlink()
    row_file(folder, 10).npy.rename(tmp_path / "away")
    with pytest.raises(EmbeddingsError, match="rows from 10 on are missing of 30"):
        Embeddings(folder)
    (tmp_path / "away").rename(row_file(folder, 10).npy)
    (folder / "rows-abc.npy").write_bytes(row_file(folder, 10).npy.read_bytes())
    with pytest.raises(EmbeddingsError, match=r"rows-abc.npy is not named after the number"):
        Embeddings(folder)


@pytest.mark.parametrize(
    ("docids", "part"),
    [
        (["a", "b c"], "'b c', which is empty or has whitespace or control"),
        (["a", ""], "'', which is empty"),
        (["a", "b\r"], r"'b\\r', which is empty or has whitespace"),
        (["a", "b\0c"], r"'b\\x00c'"),
        (["a", "\u2028"], "whitespace or control"),
        (["a", "a"], "holds docid 'a' twice"),
    ],
)
def test_docids_of_others(tmp_path, docids, part):
    make(tmp_path / "e", files=1, rows=2)
    with open(row_file(tmp_path / "e", 0).docid, "w", newline="\n") as file:
        file.writelines(f"{docid}\n" for docid in docids)
    with pytest.raises(EmbeddingsError, match=part):
        Embeddings(tmp_path / "e").check_docids()


def test_docids_that_are_not_utf8(tmp_path):
    make(tmp_path / "e")
    row_file(tmp_path / "e", 10).docid.write_bytes(b"\xff\n" * 10)
    with pytest.raises(EmbeddingsError, match=r"rows-0000000010\.docid is not UTF-8"):
        list(Embeddings(tmp_path / "e").docids())
    make(tmp_path / "good")
    Embeddings(tmp_path / "good").check_docids()


@pytest.mark.parametrize(
    ("value", "part"),
    [(np.nan, "NaN or infinite"), (-np.inf, "NaN or infinite"), (1e38, "too large to compute with"), (-1e16, "1e.15")],
)
def test_values_that_faiss_cannot_square(tmp_path, value, part):
    values = make(tmp_path / "e")
    values[13, 2] = value
    np.save(row_file(tmp_path / "e", 10).npy, values[10:])
    embeddings = Embeddings(tmp_path / "e")
    for read in (
        lambda: list(embeddings.blocks(7)),
        lambda: embeddings.sample(20, 0),
        lambda: embeddings.sample(19, 0),
    ):
        with pytest.raises(EmbeddingsError, match=rf"rows-0000000010.npy row 3 \(docid d13\) holds .*{part}"):
            read()


def test_more_files_than_a_process_may_open(tmp_path):
    import resource

    values = make(tmp_path / "e", files=150, rows=2)

    def limited():
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        embeddings = Embeddings(tmp_path / "e")
        read = [block.copy() for block in embeddings.blocks(7)]
        assert np.array_equal(np.concatenate(read), values)
        assert np.array_equal(embeddings.sample(300, 0), values) and len(embeddings.sample(299, 0)) == 299
        chosen = np.random.default_rng(0).permutation(300)
        assert np.array_equal(embeddings.rows(chosen), values[chosen])
        assert list(embeddings.docids()) == [f"d{i}" for i in range(300)]
        held = []
        with pytest.raises(EmbeddingsError, match=r"cannot be read: Too many open files; .*ulimit -n"):
            for block in embeddings.blocks(7):
                held.append(block)
        return 0

    assert forked(limited) == 0


def test_files_that_were_replaced_meanwhile(tmp_path):
    make(tmp_path / "e")
    embeddings = Embeddings(tmp_path / "e")
    np.save(row_file(tmp_path / "e", 10).npy, np.zeros((10, 4), dtype=np.float32))
    with pytest.raises(EmbeddingsError, match="was changed while it was read; run the same command again"):
        embeddings.rows(np.array([3, 13]))
    row_file(tmp_path / "e", 0).npy.unlink()
    with pytest.raises(EmbeddingsError, match="was changed while it was read"):
        list(Embeddings.blocks(embeddings, 5)) and embeddings.sample(3, 0)


def test_embeddings_are_pickled_as_their_path(tmp_path):
    values = make(tmp_path / "e")
    assert len(kept := pickle.dumps(Embeddings(tmp_path / "e"))) < 1000
    assert np.array_equal(pickle.loads(kept).sample(20, 0), values)


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

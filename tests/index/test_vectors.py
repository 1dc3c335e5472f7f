"""Vectors beside an index: near the embeddings, mapped, carried through changes, and refused where they do not fit."""

import numpy as np
import pytest

from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.errors import EmbeddingsError, IndexFolderError
from pyserini_jpq.index.build import build_from, build_opq
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.options import IndexOptions
from pyserini_jpq.index.vectors import Vectors, keep_vectors, vectors_of, write_vectors
from tests.conftest import make_embeddings, make_index, run

pytestmark = pytest.mark.unit
N, D = 300, 16
NEAR = {"int8": 1 / 127, "float16": 1e-3}


def random(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, D)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    vectors, docids = random(N, 0), [f"d{i}" for i in range(N)]
    make_embeddings(tmp_path / "e", vectors, docids)
    return make_index(tmp_path / "x", vectors, docids)


def whole(kept):
    return np.concatenate(list(kept.blocks(64)))


def embeddings(folder, name, rows, seed, first):
    return Embeddings(make_embeddings(folder / name, random(rows, seed), [f"d{first + i}" for i in range(rows)]))


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_vectors_are_near_the_embeddings(tmp_path, kind):
    wanted = np.concatenate([random(50, 0) * 1e3, np.zeros((1, D), np.float32), random(50, 1) * 1e-3])
    write_vectors(tmp_path / "v", kind, len(wanted), D, [wanted[:7], wanted[7:]])
    kept = Vectors(tmp_path / "v", len(wanted), D)
    assert len(kept) == 101 and (tmp_path / "v").stat().st_size == 64 + 101 * {"int8": D + 4, "float16": 2 * D}[kind]
    assert (np.abs(whole(kept) - wanted).max(1) <= NEAR[kind] * np.abs(wanted).max(1)).all()
    rows = np.array([[100, 3, 3], [50, 0, 7]])
    queries = random(2, 2)
    assert np.allclose(kept.scores(queries, rows), np.einsum("bd,bnd->bn", queries, kept.rows(rows)), rtol=1e-5)


def test_a_value_beyond_float16_is_refused(tmp_path):
    with pytest.raises(EmbeddingsError, match=r"above 65,504"):
        write_vectors(tmp_path / "v", "float16", 1, D, [np.full((1, D), 1e5, np.float32)])


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_vectors_follow_the_documents(folder, tmp_path, kind):
    keep_vectors(IndexFolder(folder), kind, Embeddings(tmp_path / "e"))
    change_index(IndexFolder(folder), embeddings(tmp_path, "more", 5, 1, N), ["d3"])
    change_index(IndexFolder(folder), embeddings(tmp_path, "again", 2, 2, N + 4), ["d7"], replace=True)
    kept = vectors_of(IndexFolder(folder, verify=True))
    stay = [i for i in range(N) if i not in (3, 7)]
    wanted = np.concatenate([random(N, 0)[stay], random(5, 1)[:4], random(2, 2)])
    assert kept.kind == kind and len(kept) == N + 4
    assert (np.abs(whole(kept) - wanted).max(1) <= NEAR[kind] * np.abs(wanted).max(1)).all()


def test_a_new_index_keeps_them(folder, tmp_path):
    rows = Embeddings(tmp_path / "e")
    build_opq(rows, IndexOptions(m=4, keep_vectors="int8"), tmp_path / "new")
    build_from(IndexFolder(folder), rows, tmp_path / "from", vectors="float16")
    assert vectors_of(IndexFolder(tmp_path / "new", verify=True)).kind == "int8"
    assert vectors_of(IndexFolder(tmp_path / "from", verify=True)).kind == "float16"
    assert vectors_of(IndexFolder(folder)) is None


def test_what_does_not_fit_is_refused(folder, tmp_path):
    with pytest.raises(EmbeddingsError, match="does not say where its embeddings are"):
        keep_vectors(IndexFolder(folder), "int8")
    with pytest.raises(EmbeddingsError, match="does not hold the embeddings of the documents"):
        keep_vectors(IndexFolder(folder), "int8", embeddings(tmp_path, "others", N, 0, 1))
    assert not (folder / "vectors").exists()
    keep_vectors(IndexFolder(folder), "int8", Embeddings(tmp_path / "e"))
    path = folder / "vectors"
    good = path.read_bytes()
    for damaged in (b"X" + good[1:], good[:8] + b"\xff" + good[9:]):
        path.write_bytes(damaged)
        with pytest.raises(IndexFolderError, match=r"of another version, or damaged.*--keep-vectors int8` makes"):
            vectors_of(IndexFolder(folder))
    path.write_bytes(good[:-1])
    with pytest.raises(IndexFolderError, match="it was cut short or changed"):
        vectors_of(IndexFolder(folder))
    path.write_bytes(good[:64] + np.float32(np.nan).tobytes() + good[68:])
    with pytest.raises(IndexFolderError, match="a score is not finite"):
        vectors_of(IndexFolder(folder)).scores(random(1, 0), np.array([[0, 1]]))


def test_without_its_file_an_index_keeps_none(folder, tmp_path):
    keep_vectors(IndexFolder(folder), "int8", Embeddings(tmp_path / "e"))
    stale = (folder / "vectors").read_bytes()
    (folder / "vectors").unlink()
    assert vectors_of(IndexFolder(folder)) is None
    change_index(IndexFolder(folder), delete=["d3"])
    (folder / "vectors").write_bytes(stale)  # as an interrupted command leaves it: written, not listed
    changed = change_index(IndexFolder(folder), delete=["d4"])
    assert changed.dropped == ("vectors",) and "vectors" not in IndexFolder(folder).manifest.files


def test_the_command_keeps_them(folder, tmp_path, capsys):
    flags = ("--index", folder, "--keep-vectors", "int8")
    assert run("index", *flags, "--embeddings", tmp_path / "e") == 0
    assert "300 documents with vectors, int8" in capsys.readouterr().err
    assert vectors_of(IndexFolder(folder, verify=True)) is not None
    assert run("index", *flags, "--delete", "d1") == 2
    assert "--keep-vectors belongs to a new index" in capsys.readouterr().err

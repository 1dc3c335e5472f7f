"""Outputs that are there, are something else, or cannot be written."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pyserini_jpq.errors import OutputError
from pyserini_jpq.files import refuse_existing, refuse_existing_file, save_array
from tests.conftest import ENCODER_FLAGS, run


@pytest.mark.property
@given(
    arrays.arrays(st.sampled_from([np.float32, np.uint8, np.int64]), arrays.array_shapes(min_dims=1, min_side=0)),
    st.booleans(),
)
def test_saved_arrays_are_loaded_as_they_were(tmp_path_factory, array, is_transposed):
    path = tmp_path_factory.mktemp("array") / "x.npy"
    array = array.T if is_transposed else array
    save_array(path, array)
    loaded = np.load(path, allow_pickle=False)
    assert loaded.dtype == array.dtype and np.array_equal(loaded, array, equal_nan=array.dtype == np.float32)


@pytest.mark.unit
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_is_told_by_its_number():
    with pytest.raises(OSError, match="No space") as problem:
        save_array(Path("/dev/full"), np.zeros(100_000))
    assert problem.value.errno == errno.ENOSPC


@pytest.mark.unit
def test_outputs_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("x")
    (tmp_path / "empty").mkdir()
    for place in ("file/x", "file/x/y/z"):
        with pytest.raises(OutputError, match="file is a file, so"):
            refuse_existing(tmp_path / place, overwrite=True)
    for place in ("file", "other"):
        with pytest.raises(OutputError, match="exists already"):
            refuse_existing(tmp_path / place, overwrite=False)
        with pytest.raises(OutputError, match=r"holds something else \(no jpq.json\)"):
            refuse_existing(tmp_path / place, overwrite=True, marker="jpq.json")
    (tmp_path / "other" / "jpq.json").write_text("{}")
    for place in ("other", "empty", "new/deep"):
        refuse_existing(tmp_path / place, overwrite=True, marker="jpq.json")
    with pytest.raises(OutputError, match="is a folder"):
        refuse_existing_file(tmp_path / "empty", overwrite=True)
    refuse_existing_file(tmp_path / "file", overwrite=True)
    refuse_existing_file(tmp_path / "new", overwrite=False)


@pytest.mark.integration
def test_index_never_replaces_what_is_no_index(built, tmp_path, capsys):
    embeddings = tmp_path / "e"
    shutil.copytree(built / "embeddings", embeddings)
    before = sorted(p.name for p in embeddings.iterdir())
    assert run("index", "--embeddings", embeddings, "--output", embeddings, "--m", 4, "--overwrite") == 2
    assert "holds something else" in capsys.readouterr().err
    assert sorted(p.name for p in embeddings.iterdir()) == before


@pytest.mark.integration
def test_encoding_begins_again_where_not_even_the_manifest_was_written(tiny_encoder, tiny_collection, tmp_path):
    folder = tmp_path / "e"
    folder.mkdir()
    (folder / ".embeddings.json.partial").write_text("")  # what a full disk leaves
    corpus = tiny_collection / "documents.jsonl"
    assert run("encode", "--corpus", corpus, "--encoder", tiny_encoder, "--output", folder, *ENCODER_FLAGS) == 0
    assert not list(folder.glob(".*"))


@pytest.mark.integration
@pytest.mark.parametrize("command", ["search", "evaluate"])
def test_files_are_not_written_over_folders_or_under_files(built, tiny_collection, tmp_path, capsys, command):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    run_file = tmp_path / "run.txt"
    run_file.write_text("q64 Q0 d64 1 2.0 t\n")
    for place, part in ((tmp_path / "folder", "is a folder"), (tmp_path / "file" / "x", "is a file")):
        words = {
            "search": [
                "--index",
                built / "x.jpq-m4",
                "--topics",
                tiny_collection / "topics.dev.tsv",
                "--output",
                place,
            ],
            "evaluate": ["--qrels", tiny_collection / "qrels.dev.txt", run_file, "--json", place],
        }
        assert run(command, *words[command], "--overwrite") == 2
        out, err = capsys.readouterr()
        assert part in err and err.count("\n") == 1 and not out
    assert not list(tmp_path.glob(".*"))


@pytest.mark.integration
def test_tags_are_one_word(built, tiny_collection, tmp_path, capsys):
    shutil.copytree(built / "x.opq-m4", tmp_path / "my index")
    words = ("search", "--index", tmp_path / "my index", "--topics", tiny_collection / "topics.dev.tsv")
    assert run(*words, "--output", tmp_path / "run.txt", "--tag", "a b") == 2
    assert "is not one word" in capsys.readouterr().err
    assert run(*words, "--output", tmp_path / "run.txt", "--hits", 1) == 0
    assert (tmp_path / "run.txt").read_text().splitlines()[0].split()[5:] == ["my_index"]
    assert json.loads((tmp_path / "run.txt.json").read_text())["bytes_per_document"] == 4

"""Pipes, and links to devices without end, in the place of files of an index, of embeddings and of an encoder."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pyserini_jpq.encode.document import _kept_partial
from pyserini_jpq.encode.embeddings import Embeddings
from pyserini_jpq.encode.row_files import RowFile, described, mapped
from pyserini_jpq.encode.weights import check_folder, check_layer
from pyserini_jpq.errors import EncoderError, IndexFolderError, JPQError
from pyserini_jpq.files import check_regular, regular, sha256_of
from pyserini_jpq.index.blocks import open_blocks
from pyserini_jpq.index.docids import Docids
from pyserini_jpq.index.faiss_io import read_faiss
from pyserini_jpq.index.opening import _manifest_of, opened
from pyserini_jpq.index.texts import Texts
from pyserini_jpq.index.writing import preparing
from pyserini_jpq.trust.arrays import open_npy, safetensors_header
from pyserini_jpq.trust.plain import NotPlain, read_json, read_yaml
from tests.conftest import make_embeddings, make_index
from tests.processes import forked, limit_memory

pytestmark = pytest.mark.unit

VECTORS = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
DOCIDS = [f"d{i}" for i in range(300)]

READERS: dict[str, Callable[[Path], object]] = {
    "index folder": lambda p: opened(p.parent, lambda folder: folder.read()),
    "json": read_json,
    "yaml": lambda p: read_yaml(p, JPQError),
    "npy": lambda p: open_npy(p, IndexFolderError, "again"),
    "faiss": lambda p: read_faiss(p),
    "docids": lambda p: Docids(p, 300),
    "blocks": lambda p: open_blocks(p, np.zeros((300, 4), np.uint8)),
    "texts": lambda p: Texts([p]),
    "hash": sha256_of,
    "safetensors": lambda p: safetensors_header(p, EncoderError),
    "rows": lambda p: described(p, 16),
    "mapped": lambda p: mapped(RowFile(0, p)),
    "partial": lambda p: _kept_partial(p, 300, 16),
    "embeddings": lambda p: list(Embeddings(p.parent).docids()),
    "encoder": lambda p: check_folder(p.parent),
    "layer": lambda p: check_layer(p.parent),
    "settings": lambda p: preparing(p.parent.with_name("y"), {}).__enter__(),
    "manifest": lambda p: _manifest_of(p.parent),
}
OF_A_FILE = ("json", "yaml", "npy", "faiss", "docids", "blocks", "texts", "hash", "safetensors", "mapped", "partial")


def put(path: Path, kind: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    return path


def told(tasks: list[tuple[str, Path]], file: Path) -> list[list[str]]:
    """Return name, path, type of the error (empty if there was none) and message of each reader, written to a file."""

    def read_all() -> None:
        limit_memory(4 << 30)  # a device has no end
        for name, path in tasks:
            signal.alarm(100)  # a pipe is waited for
            error = message = ""
            try:
                READERS[name](path)
            except (JPQError, NotPlain) as problem:
                error, message = type(problem).__name__, str(problem)
            with file.open("a") as lines:
                lines.write(json.dumps([name, str(path), error, message]) + "\n")

    file.touch()
    status, found = forked(read_all), [json.loads(line) for line in file.open()]
    assert status == 0 and len(found) == len(tasks), (found[-1:], status)
    return found


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    odd = put(tmp_path / "odd", kind)
    tasks = [(name, odd) for name in OF_A_FILE]
    tasks.append(("rows", put(tmp_path / "rows-0000000000.npy", kind)))
    for name in ("jpq.json", "index", "docid", "initial_centroids.npy"):
        make_index(tmp_path / name / "x", VECTORS, DOCIDS)
        tasks.append(("index folder", put(tmp_path / name / "x" / name, kind)))
    for name in ("embeddings.json", "rows-0000000000.npy", "rows-0000000000.docid"):
        make_embeddings(tmp_path / "of" / name / "e", VECTORS, DOCIDS)
        tasks.append(("embeddings", put(tmp_path / "of" / name / "e" / name, kind)))
    for name in (
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "pytorch_model.bin",
        "1_Dense/model.safetensors",
    ):
        folder = tmp_path / "of" / name.replace("/", "_")
        put(folder / name, kind)
        tasks.append(("encoder", folder / "any"))
    tasks.append(("layer", put(tmp_path / "layer" / "pytorch_model.bin", kind)))
    for name, path, error, message in told(tasks, tmp_path / "told"):
        assert error and "\n" not in message and len(message) < 500, (name, path, error, message)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_settings_and_manifests_that_are_no_regular_files_are_as_if_missing(tmp_path, kind):
    settings = put(tmp_path / ".y.partial" / ".settings.json", kind)
    manifest = put(tmp_path / "x" / "jpq.json", kind)
    tasks = [("settings", settings), ("manifest", manifest)]
    assert [error for _, _, error, _ in told(tasks, tmp_path / "told")] == ["", ""]
    assert settings.is_file() and json.loads(settings.read_text()) == {}


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_commands_end_in_one_line(tmp_path, kind):
    index = make_index(tmp_path / "x", VECTORS, DOCIDS)
    put(index / "jpq.json", kind)
    words = [sys.executable, "-m", "pyserini_jpq.index", "--index", str(index), "--delete", "d5"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


def test_links_to_regular_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    with open(tmp_path / "link", "rb", opener=regular()) as file:
        assert file.read() == b"abc"
    check_regular(tmp_path / "missing")
    check_regular(tmp_path / "link", most=3)
    with pytest.raises(IndexFolderError, match="has 3 bytes"):
        check_regular(tmp_path / "link", IndexFolderError, most=2)
    for path, error in ((tmp_path / "missing", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error), open(path, opener=regular()):
            pass

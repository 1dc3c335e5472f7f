"""Weights from a Google Drive folder (gdown stood in for) or an archive."""

import tarfile

import pytest

from pyserini_jpq.download.weights import fetch_weights
from pyserini_jpq.errors import DownloadError
from tests.publisher import Published

pytestmark = pytest.mark.unit
DRIVE = "https://drive.google.com/drive/folders/1bJw8P15cFiV239mTgFQxVilXMWqzqXUU"


@pytest.fixture
def drive(monkeypatch, tmp_path):
    """A stand-in for gdown: writes the files that a test names, or raises what it gives."""
    import gdown

    monkeypatch.chdir(tmp_path)
    given = {}

    def download_folder(url, output, **options):
        assert url == DRIVE and options["resume"] and not options["use_cookies"]
        if "error" in given:
            raise given["error"]
        from pathlib import Path

        paths = []
        for name, content in given["files"].items():
            path = Path(output, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            paths.append(str(path))
        return paths

    monkeypatch.setattr(gdown, "download_folder", download_folder)
    return given


def test_a_folder_of_google_drive(drive, tmp_path):
    drive["files"] = {"config.json": b"{}", "pytorch_model.bin": b"w", "training_args.bin": b"pickle"}
    fetch_weights(DRIVE, "star", tmp_path / "encoders" / "star")
    assert sorted(p.name for p in (tmp_path / "encoders" / "star").iterdir()) == ["config.json", "pytorch_model.bin"]
    assert "pytorch_model.bin" in (tmp_path / "downloads" / "star" / "SHA256SUMS").read_text()
    drive["files"]["pytorch_model.bin"] = b"changed"
    with pytest.raises(DownloadError, match="from the first time"):
        fetch_weights(DRIVE, "star", tmp_path / "encoders" / "again")


@pytest.mark.parametrize("kind", ["offline", "refused"])
def test_google_drive_out_of_reach_is_one_line(drive, tmp_path, kind):
    import gdown
    import requests

    offline = requests.ConnectionError("HTTPSConnectionPool(host='x'):\nMax retries (Caused by NameResolutionError(1))")
    drive["error"] = offline if kind == "offline" else gdown.exceptions.FileURLRetrievalError("too many\naccesses")
    with pytest.raises(DownloadError) as problem:
        fetch_weights(DRIVE, "star", tmp_path / "encoders" / "star")
    text = str(problem.value)
    assert "\n" not in text and "Caused" not in text
    for part in ("the encoder star", DRIVE, "config.json", "pytorch_model.bin", str(tmp_path / "encoders" / "star")):
        assert part in text
    assert not (tmp_path / "encoders").exists()


def test_an_archive(publisher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("w")
    with tarfile.open(tmp_path / "e.tar.gz", "w:gz") as archive:
        for name in ("config.json", "model.safetensors"):
            archive.add(tmp_path / name, f"deep/er/{name}")
    publisher.files["e.tar.gz"] = Published((tmp_path / "e.tar.gz").read_bytes())
    fetch_weights(publisher.url("e.tar.gz"), "e", tmp_path / "encoders" / "e")
    assert (tmp_path / "encoders" / "e" / "model.safetensors").read_text() == "w"
    assert sorted(p.name for p in (tmp_path / "downloads" / "e").iterdir() if p.suffix != ".lock") == [
        *("SHA256SUMS", "e.tar.gz")
    ]
    publisher.files["e.bin"] = Published(b"x")
    with pytest.raises(DownloadError, match="no archive that can be unpacked"):
        fetch_weights(publisher.url("e.bin"), "f", tmp_path / "encoders" / "f")


def test_the_tower_fetches_what_its_card_names(drive, tmp_path, tiny_encoder):
    from pyserini_jpq.cards import EncoderCard
    from pyserini_jpq.encode.encoder import Encoder

    drive["files"] = {name: (tiny_encoder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    card = EncoderCard(backbone="./encoders/tiny", weights=DRIVE, tokenizer=str(tiny_encoder), dimension=32)
    assert Encoder.load(card).dimension == 32
    drive["files"] = {}
    assert Encoder.load(card).dimension == 32

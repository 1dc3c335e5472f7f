"""What training leaves, whatever the umask, and whatever another command does to its index meanwhile."""

import os
import shutil
import stat

import pytest
import torch

from pyserini_jpq.cards import read_encoder_card
from pyserini_jpq.encode.encoder import Encoder
from pyserini_jpq.index.change import change_index
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.train.checkpoint import Checkpoints
from pyserini_jpq.train.model import JPQModel
from pyserini_jpq.train.output import Outputs, write_encoder
from pyserini_jpq.train.source import read_source
from pyserini_jpq.train.trainer import Trainer
from tests.conftest import run
from tests.train.helpers import assert_same, tiny_model


@pytest.mark.unit
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_an_encoder_folder_follows_the_umask(built, tmp_path, umask, mode):
    folder = built / "enc" / "x.jpq-m4"
    encoder = Encoder.load(read_encoder_card(folder / "encoder.yaml"), folder)
    _, quantizer, codes = tiny_model(m=4, size=8)
    before = os.umask(umask)
    try:
        write_encoder(JPQModel(encoder, quantizer, codes), Outputs(tmp_path / "x", tmp_path / "enc", False))
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "enc").rglob("*") if path.is_file()]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    assert "model.safetensors" in modes and set(modes.values()) == {mode}


def delete(folder):
    change_index(IndexFolder(folder), delete=["d1", "d299"])


@pytest.mark.integration
@pytest.mark.parametrize("disturb", [delete, shutil.rmtree], ids=["changed", "removed"])
def test_an_index_that_is_changed_while_it_is_trained_from(built, tiny_collection, tmp_path, monkeypatch, disturb):
    source = tmp_path / "source"
    shutil.copytree(built / "x.opq-m4", source)

    def train(name):
        words = ["--index", source, "--output", tmp_path / name / "x", "--output-encoder", tmp_path / name / "enc"]
        words += ["--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt"]
        words += ["--embeddings", built / "embeddings", "--epochs", 2, "--num-negatives", 20, "--device", "cpu"]
        return run("train", *words, "--threads", 1)

    assert train("quiet") == 0
    step = Trainer.step

    def disturbed(self, batch):
        if self.step_number == 2:
            disturb(source)
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", disturbed)
    assert train("disturbed") == 0
    assert_same(tmp_path / "quiet", tmp_path / "disturbed")
    index = IndexFolder(tmp_path / "disturbed" / "x", verify=True)
    assert index.blocks and len(index.docids()) == index.read().ntotal == 300


@pytest.mark.integration
def test_an_index_that_is_changed_while_it_is_read_is_read_again(built, tmp_path, monkeypatch):
    folder = tmp_path / "source"
    shutil.copytree(built / "x.opq-m4", folder)
    docids, changes = IndexFolder.docids, []

    def changed_before(self):
        if not changes:
            changes.append(1)
            monkeypatch.setattr(IndexFolder, "docids", docids)
            delete(folder)
        return docids(self)

    monkeypatch.setattr(IndexFolder, "docids", changed_before)
    source = read_source(folder)
    assert changes and len(source.codes) == len(source.docids) == source.manifest.documents == 298


@pytest.mark.unit
def test_a_checkpoint_of_an_older_version_has_its_encoder_under_another_name(tmp_path):
    weights = {"tower.backbone.tower.bias": torch.ones(2), "centroids": torch.zeros(1)}
    Checkpoints(tmp_path).save(3, {"model": weights, "best": None, "step": 3})
    state = Checkpoints(tmp_path).newest()
    assert list(state["model"]) == ["encoder.backbone.tower.bias", "centroids"] and state["step"] == 3
    Checkpoints(tmp_path).save(4, {"model": weights, "best": weights})
    assert next(iter(Checkpoints(tmp_path).newest()["best"])) == "encoder.backbone.tower.bias"

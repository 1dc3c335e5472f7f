"""Two trainings at once: an encoder that one of them writes is not taken, nor replaced, by the other."""

import os
import shutil

import pytest

import pyserini_jpq as jpq
from pyserini_jpq.files import sha256_of
from pyserini_jpq.locks import BusyError, exclusive
from pyserini_jpq.train import run as training
from pyserini_jpq.train.distributed import alone
from pyserini_jpq.train.output import Outputs
from pyserini_jpq.train.trainer import Trainer
from tests.conftest import run
from tests.processes import forked

pytestmark = pytest.mark.integration


@pytest.fixture
def train(built, tiny_collection, tmp_path):
    """Train the tiny index to an output, with the encoder `enc/Q`."""

    def run_with(name, *more):
        words = ["--index", built / "x.opq-m4", "--output", tmp_path / name, "--output-encoder", tmp_path / "enc" / "Q"]
        words += ["--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt"]
        words += ["--epochs", 1, "--num-negatives", 20, "--batch-size", 16, "--device", "cpu", "--threads", 1]
        return run("train", *words, *more)

    return run_with


def contents(folder):
    return {path.relative_to(folder): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def fails_at(monkeypatch, name):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(training, name, full)


def test_one_of_two_at_once_with_one_encoder_is_refused(train, tmp_path, monkeypatch):
    step, others = Trainer.step, []

    def and_another(self, batch):
        if not others:
            others.append(None)
            others[0] = forked(lambda: train("U", "--seed", 2))
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", and_another)
    assert train("T", "--seed", 1) == 0
    assert others == [2]
    assert not (tmp_path / "U").exists() and not (tmp_path / ".U.training").exists()
    assert jpq.Index(tmp_path / "T").search("bado kefa", k=1)
    assert not list(tmp_path.rglob(".*"))


def test_an_encoder_that_is_being_written_is_one_error(train, tmp_path, capfd):
    with exclusive(tmp_path / "enc" / "Q"):
        assert forked(lambda: train("U")) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("error"))
    assert "Q is being written by process" in line and not list(tmp_path.rglob(".*"))


def test_an_encoder_that_another_put_there_meanwhile_is_not_replaced(train, built, tmp_path, monkeypatch, capsys):
    encoder, step = tmp_path / "enc" / "Q", Trainer.step

    def copied(self, batch):
        if not encoder.exists():
            shutil.copytree(built / "enc" / "x.jpq-m4", encoder)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", copied)
        assert train("T") == 2
    assert "Q exists already" in capsys.readouterr().err.splitlines()[-1]
    assert contents(encoder) == contents(built / "enc" / "x.jpq-m4") and not (tmp_path / "T").exists()
    shutil.rmtree(encoder)
    assert train("T") == 0 and jpq.Index(tmp_path / "T").search("bado kefa", k=1)


def test_an_interrupted_run_replaces_its_own_encoder_only(train, tmp_path, monkeypatch, capsys):
    encoder = tmp_path / "enc" / "Q"
    with monkeypatch.context() as patch:
        fails_at(patch, "write_index")
        assert train("T", "--seed", 1) == 2
    own = contents(encoder)
    assert Outputs(tmp_path / "T", encoder, False).holds_own_encoder()
    assert train("U", "--seed", 2) == 2 and contents(encoder) == own
    assert train("U", "--seed", 2, "--overwrite") == 0
    others = contents(encoder)
    capsys.readouterr()
    assert others != own and train("T", "--seed", 1) == 2
    assert "Q exists already" in capsys.readouterr().err.splitlines()[-1] and contents(encoder) == others
    os.rename(encoder, tmp_path / "enc" / "R")
    assert train("T", "--seed", 1) == 0 and contents(encoder) == own


def test_of_two_runs_with_the_outputs_the_other_way_round_neither_waits(tmp_path):
    one, two = tmp_path / "a", tmp_path / "b"

    def other():
        try:
            with alone(two, one):
                return 0
        except BusyError:
            return 2

    with alone(one, two):
        assert forked(other) == 2
    assert forked(other) == 0 and not list(tmp_path.iterdir())

"""Training that is killed, interrupted or cannot write ends well, and goes on to the very same result."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_jpq.train.trainer import Trainer
from tests.conftest import run
from tests.train.helpers import assert_same

pytestmark = pytest.mark.integration

# One process imports everything once and forks a run for each kill; with one thread, as OpenMP does not survive a fork.
# A run is killed after so much time of the processor, of which it gets less where other processes run, too.
HARNESS = """
import json, os, random, signal, sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from pyserini_jpq import cli
from pyserini_jpq.train.output import Outputs
import pyserini_jpq.train.run
from pyserini_jpq.train.__main__ import main
import pyserini_jpq.evaluate.metrics, faiss, transformers

faiss.omp_set_num_threads(1)
chance, lost, whole = random.Random(5), [], 0.0

def status(argv, seconds=0):
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # a signal that nobody handles
        os._exit(cli.run(main, argv))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for output, kills, argv in json.loads(sys.argv[1]):
    folder = Outputs.of(Path(output), None, False).training
    for number in range(kills):
        ended = status(argv, chance.uniform(0, 0.08 * whole))  # twenty of them end before its end
        assert ended == -signal.SIGPROF, f"training ended with {ended} before it was killed ({number} kills)"
        log = folder / "training.jsonl"
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        steps = [json.loads(line)["step"] for line in lines if line.endswith("}\\n")]
        saved = max((int(p.stem[-9:]) for p in folder.glob("checkpoint-*.pt")), default=0)
        lost.append(max(steps, default=0) - saved)
        assert not Path(output).exists()
    assert status(argv) == 0
    whole = whole or os.times().children_user + os.times().children_system  # seconds of the run without kills
print(json.dumps(lost))
"""


def flags(built, tiny_collection, folder, *more):
    words = ["--index", built / "x.opq-m4", "--output", folder / "x", "--output-encoder", folder / "enc"]
    words += ["--topics", tiny_collection / "topics.train.tsv", "--qrels", tiny_collection / "qrels.train.txt"]
    words += ["--batch-size", 16, "--num-negatives", 20, "--device", "cpu", "--threads", 1, *more]
    return [str(word) for word in words]


def test_twenty_kills_lose_at_most_the_steps_since_the_last_checkpoint(built, tiny_collection, tmp_path):
    more = ("--epochs", 100, "--checkpoint-every", 5, "--log-every", 1, "--search-every", 3)
    runs = []
    for kills in (0, 20):
        folder = tmp_path / str(kills)
        runs.append((str(folder / "x"), kills, flags(built, tiny_collection, folder, *more)))
    done = subprocess.run([sys.executable, "-c", HARNESS, json.dumps(runs)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lost = json.loads(done.stdout.splitlines()[-1])
    assert not list(tmp_path.glob("*/.*"))
    assert len(lost) == 20 and min(lost) >= 0 and max(lost) <= 5
    assert_same(tmp_path / "0", tmp_path / "20")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_the_same_command_goes_on(
    built, tiny_collection, tmp_path, monkeypatch, capsys, stop
):
    assert run("train", *flags(built, tiny_collection, tmp_path / "whole", "--epochs", 3)) == 0
    with monkeypatch.context() as patch:
        step = Trainer.step

        def stopped(self, batch):
            value = step(self, batch)
            if self.step_number == 7:
                os.kill(os.getpid(), stop)
            return value

        patch.setattr(Trainer, "step", stopped)
        assert run("train", *flags(built, tiny_collection, tmp_path / "broken", "--epochs", 3)) == 130
    assert "stopped after step 7 of 12; the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "broken" / "x").exists()
    assert run("train", *flags(built, tiny_collection, tmp_path / "broken", "--epochs", 3), "--lr", 0.5) == 2
    assert "another index, queries or recipe" in capsys.readouterr().err
    assert run("train", *flags(built, tiny_collection, tmp_path / "broken", "--epochs", 3)) == 0
    assert "going on after step 7 of 12" in capsys.readouterr().err
    assert_same(tmp_path / "whole", tmp_path / "broken")
    steps = [json.loads(line)["step"] for line in (tmp_path / "broken" / "x" / "training.jsonl").open()]
    assert steps == sorted(set(steps)) and steps[-1] == 12


def test_a_model_that_could_not_be_written_is_not_trained_again(built, tiny_collection, tmp_path, monkeypatch, capsys):
    from pyserini_jpq.train import run as training

    def full(*_, **__):
        raise OSError(28, "No space left on device", "somewhere")

    argv = flags(built, tiny_collection, tmp_path, "--epochs", 2)
    with monkeypatch.context() as patch:
        patch.setattr(training, "write_index", full)
        assert run("train", *argv) == 2
    assert "no space left" in capsys.readouterr().err and (tmp_path / "enc").is_dir()
    monkeypatch.setattr(Trainer, "step", full)
    assert run("train", *argv) == 0
    assert (tmp_path / "x").is_dir() and not list(tmp_path.glob(".*"))
    assert run("train", *argv) == 2 and "exists already" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_with_step_queries_and_checkpoint(
    built, tiny_collection, tmp_path, monkeypatch, capsys
):
    from pyserini_jpq.train.objective import Objective

    call, calls = Objective.__call__, []

    def broken(self, queries, scores, candidates):
        calls.append(1)
        return call(self, queries, scores * (float("nan") if len(calls) == 6 else 1.0), candidates)

    monkeypatch.setattr(Objective, "__call__", broken)
    argv = flags(built, tiny_collection, tmp_path, "--epochs", 3, "--checkpoint-every", 2, "--keep-checkpoints", 1)
    assert run("train", *argv) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error"))
    assert "nan at step 6" in line and "queries q" in line and "checkpoint-000000004.pt" in line
    assert [p.name for p in (tmp_path / ".x.training").glob("*.pt")] == ["checkpoint-000000004.pt"]
    assert run("train", *argv) == 0


def test_a_damaged_checkpoint_gives_way_to_the_one_before(built, tiny_collection, tmp_path, monkeypatch, capsys):
    argv = flags(built, tiny_collection, tmp_path, "--epochs", 3, "--checkpoint-every", 2)
    step = Trainer.step

    def dies(self, batch):
        if self.step_number == 6:
            raise MemoryError
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", dies)
        with pytest.raises(MemoryError):
            run("train", *argv)
    newest, older = sorted((tmp_path / ".x.training").glob("*.pt"), reverse=True)
    newest.write_bytes(newest.read_bytes()[:1000])
    with monkeypatch.context() as patch:
        older_content = older.read_bytes()
        older.write_bytes(b"")
        assert run("train", *argv) == 2
        assert "--no-resume" in capsys.readouterr().err
        older.write_bytes(older_content)
    assert run("train", *argv) == 0
    err = capsys.readouterr().err
    assert "cannot be read" in err and "going on after step 4" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line_and_nothing_is_told_twice(built, tiny_collection, tmp_path, capsys):
    folder = tmp_path / ".x.training"
    folder.mkdir()
    (folder / "checkpoint-000000002.partial").symlink_to("/dev/full")
    argv = flags(built, tiny_collection, tmp_path, "--epochs", 2, "--checkpoint-every", 2, "--log-every", 1)
    assert run("train", *argv) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: no space left on the disk for ") and "checkpoint-000000002.pt;" in last
    assert sorted(path.name for path in folder.iterdir()) == ["settings.json", "training.jsonl"]
    assert run("train", *argv) == 0
    lines = (tmp_path / "x" / "training.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))

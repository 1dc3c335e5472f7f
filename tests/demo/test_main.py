"""The demo's way: which commands it runs, and that none of them runs twice."""

import itertools
import json
import shlex

import pytest

from demo import __main__ as demo
from pyserini_jpq import cli
from tests.conftest import make_embeddings

pytestmark = pytest.mark.unit


def test_commands_run_once_and_are_complete(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = []

    def pretend(command):
        words = shlex.split(command)
        ran.append(words[2].rpartition(".")[2])
        flags = dict(itertools.pairwise(words))
        for flag in ("--output", "--output-encoder", "--json"):
            if flag not in flags:
                continue
            place = tmp_path / flags[flag]
            if ran[-1] == "encode":
                make_embeddings(place, demo_vectors(), ["a"])
            elif flag == "--json":
                place.write_text(json.dumps({"runs": [{"run": "jpq"}]}))
            elif ran[-1] in ("index", "train"):
                place.mkdir(parents=True)

    def demo_vectors():
        import numpy as np

        return np.ones((1, 4), np.float32)

    monkeypatch.setattr("pyserini_jpq.steps.run_command", pretend)
    for name in ("write_collection", "write_training_queries", "add_dev_half"):
        monkeypatch.setattr(demo, name, lambda folder: None)
    monkeypatch.setattr(demo, "bm25_run", lambda *_: None)
    every = ["encode", "index", "train", "search", "search", "search", "evaluate"]
    assert cli.run(demo.main, []) == 0 and ran == every
    assert "1 runs" in capsys.readouterr().out
    assert cli.run(demo.main, []) == 0 and ran == every + every[3:]
    (tmp_path / "collections/demo/python-version").write_text("another")
    assert cli.run(demo.main, []) == 0 and ran == every + every[3:] + every

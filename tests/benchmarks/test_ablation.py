import json

import pytest

from benchmarks import ablation
from pyserini_jpq import cli


@pytest.mark.integration
def test_rows_are_trained_and_measured_once(built, tiny_collection, tmp_path, capsys, monkeypatch):
    flags = ["--embeddings", built / "embeddings", "--work", tmp_path / "work", "--json", tmp_path / "x.json"]
    for name, part in (("", "train"), ("test-", "dev")):
        flags += [f"--{name}topics", tiny_collection / f"topics.{part}.tsv"]
        flags += [f"--{name}qrels", tiny_collection / f"qrels.{part}.txt"]
    flags += ["--m", 4, "--seeds", 1, 2, "--rows", "trained centroids", "distill"]
    assert cli.run(ablation.main, list(map(str, flags))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == ["flat", "OPQ", "trained centroids", "distill"]
    figures = json.loads((tmp_path / "x.json").read_text())
    first, second = (figures["4"]["trained centroids"][seed]["nDCG@10"] for seed in "12")
    assert first != second and lines[4].split(" | ")[2].startswith(f"{(first + second) / 2:.4f} ± ")

    monkeypatch.setattr(ablation, "run", lambda *_: pytest.fail("made again"))
    monkeypatch.setattr("benchmarks.commands.run", lambda *_: pytest.fail("made again"))
    assert cli.run(ablation.main, list(map(str, flags))) == 0
    assert capsys.readouterr().out.splitlines() == lines

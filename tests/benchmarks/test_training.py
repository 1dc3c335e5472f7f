import json

import pytest
import torch

from benchmarks import training
from pyserini_jpq import cli
from pyserini_jpq.train.search import ScanSearch


@pytest.mark.integration
def test_all_ways_find_the_same_documents_with_biases():
    model = training.make_model(300, 4, 48, 5)
    with torch.no_grad():
        model.biases.copy_(torch.randn(model.biases.shape))
        queries = model.encode(["a", "b", "c"])
    ways = (ScanSearch(model).search, training.rebuilt_index(model), training.decoded_product(model))
    ours, rebuilt, decoded = (search(queries, 10).tolist() for search in ways)
    assert ours == rebuilt == decoded


@pytest.mark.integration
def test_steps_are_timed_by_phase_for_each_way(tmp_path, capsys):
    flags = ["--documents", "300", "--m", "4", "--dimension", "48", "--batch-size", "4", "--negatives", "20"]
    assert cli.run(training.main, [*flags, "--steps", "2", "--threads", "1", "--json", str(tmp_path / "x.json")]) == 0
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert [row["way"] for row in rows] == ["ours", "IndexPQ rebuilt", "decoded product"]
    assert all(row["step"] >= row["search"] > 0 for row in rows)
    assert "whole step" in capsys.readouterr().out

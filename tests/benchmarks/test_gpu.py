import pytest

from benchmarks import gpu, gpu_run
from pyserini_jpq import cli

FLAGS = ["--device", "cpu", "--m", "4", "--dimension", "48", "--layers", "1", "--batch-size", "2"]
FLAGS += ["--rounds", "1", "--texts", "4"]


@pytest.mark.integration
def test_all_is_checked_and_measured_without_a_gpu(capsys):
    few = ["--documents", "2000", "--queries", "1", "3", "--hits", "5"]
    assert cli.run(gpu.main, [*FLAGS, *few]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("equal" in line for line in lines) == 4
    for way in ("ours, torch", "flat float16, torch", "IVFPQ of one list, faiss", "flat, faiss"):
        rows = [line.split() for line in lines if line.startswith(way) and "equal" not in line]
        searched = [row for row in rows if row[-5:-3] in (["1", "5"], ["3", "5"])]
        assert len(searched) == 2 and all(float(row[-3]) > 0 for row in searched)
    assert "no Triton on a GPU here" in lines


@pytest.mark.integration
def test_wrong_results_end_with_status_1_and_what_is_late_is_left_out(monkeypatch, capsys):
    right = gpu_run.best_by_table
    monkeypatch.setattr(gpu_run, "best_by_table", lambda codes, tables, k: right(codes, -tables, k))
    monkeypatch.setattr(gpu_run.Run, "over", property(lambda run: bool(run.wrong)))
    with pytest.raises(SystemExit) as end:
        gpu.main([*FLAGS, "--documents", "500"])
    said = capsys.readouterr().out
    assert end.value.code == 1 and "wrong results: ours, torch, M=4, 8 bits" in said
    assert said.count("left out, the time is over") == 4

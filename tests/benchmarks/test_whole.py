import pytest

from benchmarks import whole
from pyserini_jpq import cli
from pyserini_jpq.search import run
from pyserini_jpq.search.engines.base import SearchEngine


@pytest.mark.integration
def test_the_parts_of_the_command_are_timed_beside_their_floors(tiny_encoder, tiny_collection, capsys):
    untouched = run._jpq_searcher, SearchEngine.search
    flags = ["--documents", "12000", "--m", "4", "--dimension", "32", "--encoder", tiny_encoder, "--queries", "20"]
    flags += ["--topics", tiny_collection / "topics.dev.tsv", "--hits", "30", "--batch-size", "1", "8"]
    assert cli.run(whole.main, [str(flag) for flag in [*flags, "--threads", "1"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("opening", "encoder", "tables", "scan", "docids", "order", "writing", "rest", "whole"):
        rows = [line.split() for line in lines if line.startswith(f"{name} ")]
        assert len(rows) == 2 and all(float(row[2]) > 0 for row in rows)
    shares = [float(line.split()[3]) for line in lines if line.endswith("%") or " % " in line]
    assert sum(shares) == pytest.approx(2 * 2 * 100, abs=2)  # the parts, and the whole
    assert (run._jpq_searcher, SearchEngine.search) == untouched

import pytest

from benchmarks import quantizers
from pyserini_jpq import cli


@pytest.mark.integration
def test_a_row_for_each_quantizer_that_can_be_built(built, tiny_collection, tmp_path, capsys, monkeypatch):
    flags = ["--embeddings", built / "embeddings", "--work", tmp_path / "work", "--bytes", 16]
    for name, part in (("", "train"), ("test-", "dev")):
        flags += [f"--{name}topics", tiny_collection / f"topics.{part}.tsv"]
        flags += [f"--{name}qrels", tiny_collection / f"qrels.{part}.txt"]
    flags += ["--rows", "OPQ", "OPQ of 4 bits", "OPQ, trained", "OPQ, Euclidean", "rabitq", "lsq", "binary"]
    assert cli.run(quantizers.main, list(map(str, flags))) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    rows = [line.split(" | ")[1] for line in lines[2:]]
    assert rows == ["uncompressed", "OPQ", "OPQ of 4 bits", "OPQ, trained", "OPQ, Euclidean", "rabitq", "binary"]
    assert len({line.split(" | ")[2] for line in lines[2:]}) > 3
    assert "lsq at 16 bytes: " in printed.err

    for module in ("benchmarks.commands.run", "benchmarks.quantizers.run"):
        monkeypatch.setattr(module, lambda *_: pytest.fail("made again"))
    assert cli.run(quantizers.main, list(map(str, flags))) == 0
    assert capsys.readouterr().out.splitlines() == lines

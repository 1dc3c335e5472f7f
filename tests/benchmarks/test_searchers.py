import pytest

from benchmarks import opening, searchers
from pyserini_jpq import cli


@pytest.mark.integration
def test_both_searchers_are_timed_on_a_converted_index(built, tiny_collection, capsys):
    flags = ["--documents", "2000", "--queries", "1", "3", "--hits", "5", "--rounds", "2"]
    assert cli.run(searchers.main, [*flags, "--m", "8", "4", "--dimension", "16"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows[1:]] == [[m, queries, "5"] for m in ("8", "4") for queries in ("1", "3")]
    assert all(float(value) >= 0 for row in rows[1:] for value in row)
    index = ["--index", str(built / "x.jpq-m4"), "--topics", str(tiny_collection / "topics.dev.tsv")]
    assert cli.run(searchers.main, [*flags, *index, "--clock", "cpu"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert cli.run(searchers.main, [*flags, "--index", "x"]) == 2


@pytest.mark.integration
def test_an_index_is_opened_and_searched_by_text_in_processes(tiny_encoder, tiny_collection, capsys):
    flags = ["--documents", "2000", "--m", "4", "--dimension", "32", "--encoder", str(tiny_encoder), "--queries", "3"]
    assert cli.run(opening.main, [*flags, "--topics", str(tiny_collection / "topics.dev.tsv")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["searcher", *opening.SEARCHERS]
    assert all(0 < float(row[5]) <= float(row[6]) for row in rows[1:])

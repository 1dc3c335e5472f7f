"""The function under the command: topics from Python, options that are checked, two searches into one run file."""

import json
import multiprocessing
import sys

import pytest

from pyserini_jpq.errors import JPQError, OutputError, TopicsError
from pyserini_jpq.locks import BusyError
from pyserini_jpq.search.__main__ import define_flags
from pyserini_jpq.search.options import SearchOptions
from pyserini_jpq.search.run import search

pytestmark = pytest.mark.integration

TOPICS = {f"q{i}": text for i, text in enumerate(["bado kefa", "bado", "lo kefa", "kefa kefa"] * 10)}


def test_topics_from_python(built, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = search(built / "x.jpq-m4", TOPICS, options=SearchOptions(hits=3, batch_size=7, threads=2))
    assert str(run) == "runs/run.x.jpq-m4.topics.txt"
    lines = [line.split() for line in run.read_text().splitlines()]
    assert [line[0] for line in lines[::3]] == list(TOPICS) and {line[-1] for line in lines} == {"x.jpq-m4"}
    facts = json.loads(run.with_name(f"{run.name}.json").read_text())
    assert facts["bytes_per_document"] == 4 and facts["index"] == str(built / "x.jpq-m4")
    with pytest.raises(OutputError, match="exists already"):
        search(built / "x.jpq-m4", TOPICS)
    again = search(built / "x.jpq-m4", TOPICS, run, options=SearchOptions(hits=2), overwrite=True)
    assert again == run and len(run.read_text().splitlines()) == 2 * len(TOPICS)
    assert sorted(path.name for path in run.parent.iterdir()) == [run.name, f"{run.name}.json"]


def test_runs_are_the_same_with_and_without_objects_for_hits(built, tmp_path):
    runs = [
        search(index, TOPICS, tmp_path / f"{index.name}{i}", options=SearchOptions(hits=9, batch_size=7, **options))
        for index in (built / "x.jpq-m4", built / "embeddings")
        for i, options in enumerate(({"tag": "x"}, {"tag": "x", "remove_query": True}))
    ]
    first, second, third, fourth = (run.read_text() for run in runs)
    assert first == second and third == fourth and len(first.splitlines()) == 9 * len(TOPICS)


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ({}, "no topics"),
        ({"q 1": "x"}, "'q 1' is not one word"),
        ({1: "x"}, "1 is not one word"),
        ({"q": " "}, "'q' is ' '"),
        ({"q": None}, "'q' is None"),
    ],
)
def test_topics_that_cannot_be_are_refused(built, tmp_path, topics, message):
    with pytest.raises(TopicsError, match=message):
        search(built / "x.jpq-m4", topics, tmp_path / "run.txt")
    assert not list(tmp_path.iterdir())


def test_options_are_those_of_the_flags():
    assert vars(define_flags().parse_args(["--topics", "x"])).keys() == {"index", "topics", "output", "overwrite"}
    for wrong in ({"hits": 0}, {"tag": "two words"}, {"output_format": "csv"}, {"threads": "many"}):
        with pytest.raises(JPQError, match=next(iter(wrong))):
            SearchOptions(**wrong)


BUSY = 3


def _search_together(index, output, barrier):
    barrier.wait(60)
    try:
        search(index, TOPICS, output, options=SearchOptions(hits=100), overwrite=True)
    except BusyError:
        sys.exit(BUSY)


def test_two_searches_into_one_run_file_leave_one_of_the_two(built, tmp_path):
    indexes = [built / "x.opq-m4", built / "x.jpq-m4"]
    whole = [
        search(index, TOPICS, tmp_path / f"{index.name}.txt", options=SearchOptions(hits=100)) for index in indexes
    ]
    fork = multiprocessing.get_context("fork")
    for _ in range(2):
        barrier = fork.Barrier(2)
        both = [fork.Process(target=_search_together, args=(i, tmp_path / "run.txt", barrier)) for i in indexes]
        for one in both:
            one.start()
        for one in both:
            one.join(120)
        assert 0 in (codes := [one.exitcode for one in both]) and set(codes) <= {0, BUSY}
        found = (tmp_path / "run.txt").read_text()
        written = [str(i) for i, run in zip(indexes, whole, strict=True) if run.read_text() == found]
        assert [json.loads((tmp_path / "run.txt.json").read_text())["index"]] == written
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]

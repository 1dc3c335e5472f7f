"""Run files that MS MARCO's own evaluation accepts, of passages and of documents by their best passage."""

import dataclasses
import shutil

import pytest

from pyserini_jpq.evaluate.msmarco import read_ranks, reciprocal_rank
from pyserini_jpq.index.folder import IndexFolder
from pyserini_jpq.index.manifest import DOCID, write_manifest
from tests.conftest import run

pytestmark = pytest.mark.integration


@pytest.fixture
def topics(tiny_collection, tmp_path):
    lines = (tiny_collection / "topics.dev.tsv").read_text().splitlines()
    # The order of the file is the order of the run, whatever the ids.
    (tmp_path / "topics.tsv").write_text("".join(f"{line.removeprefix('q')}\n" for line in reversed(lines)))
    return tmp_path / "topics.tsv"


def test_passages(built, topics, tmp_path):
    flags = ("--index", built / "x.opq-m4", "--topics", topics, "--output", tmp_path / "run.tsv")
    assert run("search", *flags, "--output-format", "msmarco", "--batch-size", 16) == 0
    ranks = read_ranks(tmp_path / "run.tsv")
    assert list(ranks) == [line.split("\t")[0] for line in topics.read_text().splitlines()]
    assert all(list(hits) == list(range(1, 301)) for hits in ranks.values())
    assert run("search", *flags, "--overwrite", "--batch-size", 16) == 0
    assert read_ranks(tmp_path / "run.tsv") == ranks
    assert 0 < reciprocal_rank(tmp_path / "run.tsv", {qid: {f"d{qid}"} for qid in ranks}, 10) <= 1


def test_documents_by_their_best_passage(built, topics, tmp_path):
    segmented = tmp_path / "segmented"
    shutil.copytree(built / "x.opq-m4", segmented)
    manifest = dataclasses.replace(IndexFolder(segmented).manifest, files={})
    (segmented / DOCID).write_text("".join(f"D{i // 3}#{i % 3}\n" for i in range(300)))
    write_manifest(segmented, manifest)
    flags = ("search", "--topics", topics, "--batch-size", 16, "--index", segmented)
    assert run(*flags, "--output", tmp_path / "passages.txt") == 0
    best = ("--output-format", "msmarco", "--max-passage", "--max-passage-hits", 40)
    assert run(*flags, "--output", tmp_path / "run.tsv", *best) == 0
    documents = read_ranks(tmp_path / "run.tsv")
    for qid, hits in read_ranks(tmp_path / "passages.txt").items():
        first = list(dict.fromkeys(hits[rank].partition("#")[0] for rank in sorted(hits)))
        assert [documents[qid][rank] for rank in range(1, 41)] == first[:40]

import json

import numpy as np
import pytest

from benchmarks import encoding
from pyserini_jpq import cli
from pyserini_jpq.encode.source import find_encoder
from tests.conftest import WORDS
from tests.encode.test_st_folder import make_folder

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("st") / "model")


def test_a_row_for_each_that_encodes(folder, tmp_path, capsys):
    lines = (json.dumps({"id": f"d{i}", "contents": f"{WORDS[i]} bado"}) for i in range(len(WORDS)))
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "topics.tsv").write_text("".join(f"q{i}\t{WORDS[i]} bado\n" for i in range(5)))
    (tmp_path / "qrels.txt").write_text("".join(f"q{i} 0 d{i} 1\n" for i in range(5)))
    judged = ("--topics", tmp_path / "topics.tsv", "--qrels", tmp_path / "qrels.txt")
    flags = ("--corpus", tmp_path / "c.jsonl", "--encoder", folder, "--backends", "torch", "--repeat", 1, *judged)
    assert cli.run(encoding.main, [str(flag) for flag in flags]) == 0
    how, floor, header, *rows = capsys.readouterr().out.splitlines()
    assert f"{len(WORDS)} documents of 4 tokens" in how and floor.startswith("peak ")
    names = ["sentence-transformers", "torch"]
    assert [row.split()[0] for row in rows] == names and "nDCG@10" in header
    for row in rows:
        *_, cosine, ndcg = row.split()
        assert float(cosine) == 1 and float(ndcg) > 0.9


def test_the_arithmetic_of_a_model(folder):
    encoder = find_encoder(str(folder)).load()
    # A layer of BERT, 32 wide with 64 inside: four maps of 32 by 32, two of 32 by 64; attention reads two of 32.
    lengths = np.array([len(row) for row in encoder.tokenize(["bado", "kefa ligi"], encoder.card.document)])
    expected = 2 * (4 * 32 * 32 + 2 * 32 * 64) * lengths.sum() + 4 * 32 * (lengths**2).sum()
    assert encoding.operations(encoder, ["bado", "kefa ligi"]) == expected


def test_topics_need_judgements(capsys):
    with pytest.raises(SystemExit):
        encoding.main(["--corpus", "x", "--topics", "y"])
    assert "--topics and --qrels go together" in capsys.readouterr().err

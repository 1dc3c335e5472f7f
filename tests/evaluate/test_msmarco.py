"""What MS MARCO's scripts accept, and their reciprocal rank."""

import gzip

import pytest

from pyserini_jpq.errors import RunError
from pyserini_jpq.evaluate.msmarco import read_ranks, reciprocal_rank

pytestmark = pytest.mark.unit


def write(folder, text):
    (folder / "run").write_text(text)
    return folder / "run"


@pytest.mark.parametrize("line", ["{q}\t{d}\t{r}\n", "{q} Q0 {d} {r} 1.5 tag\n"])
def test_reciprocal_rank_counts_all_judged_queries(tmp_path, line):
    ranked = [("1", "7", 1), ("1", "8", 2), ("2", "9", 11), ("2", "8", 3), ("4", "1", 1)]
    path = write(tmp_path, "".join(line.format(q=q, d=d, r=r) for q, d, r in ranked))
    relevant = {"1": {"8"}, "2": {"9"}, "3": {"5"}}
    assert reciprocal_rank(path, relevant, 10) == pytest.approx((1 / 2) / 3)
    assert reciprocal_rank(path, relevant, 100) == pytest.approx((1 / 2 + 1 / 11) / 3)
    assert read_ranks(path)["2"] == {11: "9", 3: "8"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("q1\t1\t1\n", "no number"),
        ("1\t1\t0\n", "not from 1 to 1000"),
        ("1\t1\t1001\n", "not from 1 to 1000"),
        ("1\t1\tx\n", "not from 1"),
        ("1\t1\t²\n", "not from 1"),
        ("1\t1\t1\n1\t2\t1\n", "line 2: the rank 1 comes twice"),
        ("1\t1\t1\n1\t1\t2\n", "the document 1 comes twice"),
        ("1\t1\n", "2 columns"),
    ],
)
def test_what_is_not_accepted(tmp_path, text, part):
    with pytest.raises(RunError, match=part):
        read_ranks(write(tmp_path, text))


def test_byte_order_mark_gzip_and_control_characters(tmp_path):
    (tmp_path / "run").write_bytes(gzip.compress("\ufeff1\t7\t1\r\n\r\n1\t8\t2\n".encode()))
    assert read_ranks(tmp_path / "run") == {"1": {1: "7", 2: "8"}}
    with pytest.raises(RunError, match="line 1 holds a control character"):
        read_ranks(write(tmp_path, "1\ta\0b\t1\n"))

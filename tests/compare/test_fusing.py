import gzip

import pytest

from pyserini_jpq.compare.scoring import write_run
from pyserini_jpq.compat import pyserini
from pyserini_jpq.data.runs import read_run
from pyserini_jpq.evaluate.metrics import Metrics

pytestmark = pytest.mark.integration


def test_fusions_keep_qids_and_docids(tmp_path):
    (tmp_path / "run.x.txt").write_text('0001 Q0 NA 1 9 t\n0001 Q0 say"so 2 8 t\n0001 Q0 7 3 1 t\n09 Q0 null 1 5 t\n')
    (tmp_path / "bm25.gz").write_bytes(
        gzip.compress(b'0001 Q0 NA 1 20.5 t\n0001 Q0 say"so 2 3.0 t\n09 Q0 None 1 9 t\n')
    )
    both = [read_run(str(tmp_path / name)) for name in ("run.x.txt", "bm25.gz")]
    for method in ("interpolation", "rrf"):
        write_run(tmp_path / method, pyserini.fuse(both, method, 100), method)
        run = read_run(str(tmp_path / method))
        assert {qid: set(hits) for qid, hits in run.items()} == {"0001": {"NA", 'say"so', "7"}, "09": {"null", "None"}}
        values = Metrics(["RR"]).per_query({"0001": {"NA": 1}, "09": {"null": 1}}, run)["RR"]
        assert values.tolist() == [1.0, 1.0]
    assert run["0001"] == {"NA": 2 / 61, 'say"so': 2 / 62, "7": 1 / 63}

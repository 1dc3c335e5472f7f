import pytest

from pyserini_jpq.search.naming import default_run

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("index", "topics", "run"),
    [
        ("msmarco-v1-passage.jpq-m96", "msmarco-passage-dev", "run.msmarco-passage.jpq-m96.dev.txt"),
        ("msmarco-v1-passage.jpq-m96", "msmarco-v1-passage.dev", "run.msmarco-passage.jpq-m96.dev.txt"),
        ("msmarco-v1-passage.jpq-m96", "dl19-passage", "run.msmarco-passage.jpq-m96.dl19.txt"),
        ("msmarco-v1-doc.jpq-m24", "msmarco-doc-dev", "run.msmarco-doc.jpq-m24.dev.txt"),
        ("msmarco-v1-doc.jpq-m24", "dl20", "run.msmarco-doc.jpq-m24.dl20.txt"),
        ("beir-v1.0.0-fiqa.jpq-m48", "beir-v1.0.0-fiqa-test", "run.beir-v1.0.0-fiqa.jpq-m48.test.txt"),
        ("X.jpq-m24", "data/test.tsv.gz", "run.X.jpq-m24.test.txt"),
        ("X.jpq-m24", "data/TEST.TSV.GZ", "run.X.jpq-m24.TEST.txt"),
        ("plain", "queries.jsonl", "run.plain.queries.txt"),
    ],
)
def test_runs_are_named_as_in_pyserini(index, topics, run):
    assert str(default_run(index, topics)) == f"runs/{run}"

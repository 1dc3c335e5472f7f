"""The notebook runs, cell by cell, with a tiny encoder in place of the one that it names."""

import json
import shutil
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.mark.unit
def test_it_is_a_notebook_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 8 and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.integration
def test_the_notebook_runs(bare, here, capsys):
    pytest.importorskip("prometheus_client", reason="the extra serve is not installed")
    shutil.copytree(bare / "encoders", here / "encoders")
    names = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, cell {number}", "exec"), names)
    hits = names["trained"].search(names["question"], k=3)
    assert [c["docid"] for c in names["answer"]["candidates"]] == [hit.docid for hit in hits]
    assert [c["score"] for c in names["answer"]["candidates"]] == pytest.approx([h.score for h in hits], abs=1e-6)
    assert set(run.name for run in names["comparison"].runs) == {"OPQ", "JPQ"} and len(names["documents"]) >= 256
    assert hits[0].docid in capsys.readouterr().out

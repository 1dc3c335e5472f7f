"""The figures of a report, from rows that were not measured."""

import pytest

from pyserini_jpq.compare.charts import draw_all
from pyserini_jpq.compare.families import family
from pyserini_jpq.compare.rows import Row
from pyserini_jpq.index.manifest import Manifest

pytestmark = pytest.mark.unit

METRIC = "nDCG@10"


def row(name, group, size, value, family="", median=None):
    found = Row(name, name, group, measured=True, family=family, code_bytes=size, metrics={METRIC: value})
    if median is not None:
        found.latency = found.encode = {"cpu": {"median_ms": median}}
    return found


def indexes():
    values = {12: (0.27, 0.31), 24: (0.29, 0.33), 48: (0.30, 0.34)}
    rows = [row("x.jpq-m24", "index", 24, 0.33, "JPQ", 0.12)]
    for m, (opq, jpq) in values.items():
        rows.append(row(f"x.opq-m{m}", "index", m, opq, "OPQ", 0.01 * m))
        if m != 24:
            rows.append(row(f"x.jpq-m{m}", "index", m, jpq, "JPQ", 0.01 * m))
    return rows


def baselines():
    found = [row("Flat", "exhaustive", 1536, 0.315, median=0.2), row("PQ", "compressed", 24, 0.28, median=0.1)]
    return [*found, row("HNSW", "non-exhaustive", 1536, 0.31, median=0.1), row("BM25", "run", None, 0.32)]


def test_a_line_joins_the_indexes_of_a_family(tmp_path, monkeypatch):
    pytest.importorskip("adjustText")
    drawn = {}
    monkeypatch.setattr("pyserini_jpq.compare.charts.save", lambda figure, path: drawn.update({path.name: figure}))
    draw_all([*indexes(), *baselines()], [METRIC], "cpu", tmp_path)
    axes = drawn["bytes-1.png"].axes[0]
    joined = {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == "-"}
    assert joined == {"JPQ": [[12, 0.31], [24, 0.33], [48, 0.34]], "OPQ": [[12, 0.27], [24, 0.29], [48, 0.30]]}
    colours = [line.get_color() for line in axes.lines if line.get_linestyle() == "-"]
    assert len(set(colours)) == 2 and {"JPQ", "OPQ", "compressed"} <= {
        text.get_text() for text in drawn["bytes-1.png"].legends[0].get_texts()
    }
    texts = {text.get_text() for text in axes.texts}
    assert {"x.jpq-m48", "x.opq-m12", "Flat", "PQ", "BM25"} <= texts and "HNSW" not in texts


def test_what_training_brought(tmp_path):
    pytest.importorskip("adjustText")
    rows = [*indexes(), *baselines()]
    assert "training-1.png" not in {image.file for image in draw_all(rows, [METRIC], "cpu", tmp_path)}
    rows.insert(3, row("x.frozen-m24", "index", 24, 0.3, "JPQ, centroids not trained", 0.1))
    images = {image.file for image in draw_all(rows, [METRIC], "cpu", tmp_path)}
    assert "training-1.png" in images and all((tmp_path / name).stat().st_size > 10_000 for name in images)


def test_families_say_what_differs_from_the_defaults():
    def of(training):
        return family(Manifest(1, 4, 2, 8, 2, {}, {}, training))

    defaults = {"loss": "lambda-rr", "train_centroids": True, "train_biases": True}
    assert of(None) == "OPQ" and of({"imported_from": "x"}) == of({"recipe": defaults}) == "JPQ"
    assert of({"recipe": {**defaults, "loss": "distill"}}) == "JPQ, distill loss"
    assert of({"recipe": {"loss": "lambda-rr"}}) == of({"recipe": {**defaults, "train_biases": False}})
    assert of({"recipe": {**defaults, "train_biases": False}}) == "JPQ, no biases"
    ablated = {"train_centroids": False, "loss_scores": "original"}
    assert of({"recipe": ablated}) == "JPQ, loss of original scores, centroids not trained"

import pytest
from matplotlib.transforms import Bbox

from pyserini_jpq.evaluate.figures import Line, Point, decade_ticks, save, scatter

pytestmark = pytest.mark.unit


def test_ticks_are_round_numbers_within():
    assert decade_ticks(0.03, 3) == [0.05, 0.1, 0.2, 0.5, 1, 2]
    assert decade_ticks(1, 10) == [1, 2, 5, 10]


def test_groups_share_a_colour_and_stand_in_the_legend(tmp_path):
    pytest.importorskip("adjustText")
    points = [Point("a", 0.1, 0.3, "one"), Point("b", 0.1, 0.3, "one"), Point("c", 2.0, 0.5, "two")]
    figure = scatter(points, [Line("d", 0.4)], ("ms", "nDCG"), (6, 4), True)
    drawn = {line.get_label(): line for line in figure.axes[0].lines if line.get_marker() not in ("", "None")}
    assert {name: len(line.get_xdata()) for name, line in drawn.items()} == {"one": 2, "two": 1}
    assert drawn["one"].get_color() != drawn["two"].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert {"a", "b", "c", "d"} <= {text.get_text() for text in figure.axes[0].texts}
    save(figure, tmp_path / "f.svg")
    assert "<svg" in (tmp_path / "f.svg").read_text()


def test_labels_do_not_cover_each_other():
    pytest.importorskip("adjustText")
    # As in a report: many systems of one size, two of them equal.
    values = [0.333, 0.2905, 0.3013, 0.2894, 0.3048, 0.2135, 0.2275, 0.2558, 0.249, 0.2137]
    points = [Point(f"system {i}", 24, value, "one") for i, value in enumerate(values)]
    points += [Point(f"another system {i}", 48, value, "two") for i, value in enumerate(values)]
    figure = scatter(points, [Line("BM25", 0.3218), Line("docT5query", 0.3205)], ("bytes", "nDCG"), (10, 7))
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts if text.get_text()]
    covered = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if Bbox.intersection(a, b) is not None]
    shared = [Bbox.intersection(a, b) for a, b in covered]
    assert len(boxes) == 22 and all(box.height < 4 for box in shared)


def test_a_newline_in_a_name_is_a_space():
    pytest.importorskip("adjustText")
    figure = scatter([Point("a\nb", 1, 0.5), Point("$x", 2, 0.6)], [], ("bytes", "nDCG"))
    assert {"a b", "$x"} <= {text.get_text() for text in figure.axes[0].texts}

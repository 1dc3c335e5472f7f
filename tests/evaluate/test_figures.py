import pytest

from pyserini_jpq.evaluate.figures import Line, Point, decade_ticks, draw_points

pytestmark = pytest.mark.unit


def test_ticks_are_round_numbers_within():
    assert decade_ticks(0.03, 3) == [0.05, 0.1, 0.2, 0.5, 1, 2]
    assert decade_ticks(1, 10) == [1, 2, 5, 10]


def test_groups_share_a_colour_and_stand_in_the_legend(tmp_path):
    from pyserini_jpq.evaluate import figures

    points = [Point("a", 0.1, 0.3, "one"), Point("b", 0.1, 0.3, "one"), Point("c", 2.0, 0.5, "two")]
    figure = figures._figure(points, [Line("d", 0.4)], ("ms", "nDCG"), (6, 4), True)
    colours = [line.get_color() for line in figure.axes[0].lines if line.get_marker() not in ("", "None")]
    assert colours[0] == colours[1] != colours[2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    assert {"a", "b", "c", "d"} <= {text.get_text() for text in figure.axes[0].texts}
    draw_points(points, [], ("ms", "nDCG"), tmp_path / "f.svg", round_ticks=True)
    assert "<svg" in (tmp_path / "f.svg").read_text()

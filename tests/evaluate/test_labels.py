import pytest

from pyserini_jpq.evaluate import labels
from pyserini_jpq.evaluate.labels import Box, Place

pytestmark = pytest.mark.unit


def leader(x, y, to_x, to_y):
    return Place(Box(to_x, to_y, to_x, to_y), 0.0, (x, y))


def test_leaders_that_cross():
    places = [leader(0, 0, 10, 10), leader(0, 10, 10, 0), leader(20, 0, 20, 9), Place(Box(5, 0, 6, 9), 0.0)]
    assert labels._leaders_cross(places).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_of_two_places_the_one_whose_leader_crosses_nothing():
    points = [Box(-1, -1, 1, 1), Box(-1, 39, 1, 41)]
    frame = Box(-100, -100, 200, 200)
    fixed = Place(Box(60, 35, 90, 45), 0.0, (0.0, 40.0))  # a leader from the second point to the right
    across, free = (Place(Box(30, up, 50, up + 10), cost, (0.0, 0.0)) for up, cost in ((80, 0.0), (-60, 1.0)))
    chosen = labels.place_labels([[across, free], [fixed]], points, [], frame, near=6)
    assert chosen == [free, fixed]


def test_a_leader_keeps_off_the_end_of_a_label():
    points = [Box(-1, -1, 1, 1), Box(59, 19, 61, 21)]
    frame = Box(-100, -100, 200, 200)
    label = Place(Box(1.5, 15, 50, 25), 0.0)  # half a pixel beside a leader that goes straight up
    up, down = Place(Box(-10, 60, 10, 70), 0.0, (0.0, 0.0)), Place(Box(-10, -70, 10, -60), 1.0, (0.0, 0.0))
    assert labels.place_labels([[up, down], [label]], points, [], frame, near=6)[0] == down

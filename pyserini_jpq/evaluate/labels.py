"""Places labels in a figure so that they overlap neither each other nor what they name."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# What a place costs, against 0 to 3 for being far from its point or on an unusual side of it.
_ON_LABEL = 1000.0
_ON_POINT = 300.0
_OUTSIDE = 300.0
_ON_LEADER = 100.0
_ON_LINE = 10.0
# Beside another point, without a leader: the label could be taken for that point's.
_BESIDE_POINT = 5.0
_LEADER_SAMPLES = 24


class Box(NamedTuple):
    """A rectangle, in pixels, upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def grown(self, margin: float) -> "Box":
        """Return the box with a margin around it."""
        return Box(self.left - margin, self.bottom - margin, self.right + margin, self.top + margin)

    def overlaps(self, other: "Box") -> bool:
        """Tell whether two boxes have more than an edge in common."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


class Place(NamedTuple):
    """Where a label may stand: its box, what that costs, and from where a leader runs to it, if one is needed."""

    box: Box
    cost: float
    leader: tuple[float, float] | None = None


def around_point(marker: Box, width: float, height: float, gap: float) -> list[Place]:
    """Return the places for the label of a point: eight sides, near it and ever farther away.

    Parameters
    ----------
    marker
        The point as it is drawn.
    width, height
        Of the label, in pixels.
    gap
        Distance of the nearest places from the marker, in pixels.
    """
    sides = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
    x, y = (marker.left + marker.right) / 2, (marker.bottom + marker.top) / 2
    places = []
    for step in range(6):
        distance = (marker.right - marker.left) / 2 + gap * (1 + 4 * step)
        for preference, (right, up) in enumerate(sides):
            # A place at a corner is as far away as one at a side.
            shift = distance * (0.75 if right and up else 1.0)
            left = x + right * shift - width * (1 - right) / 2
            bottom = y + up * shift - height * (1 - up) / 2
            cost = 0.5 * step + 0.05 * preference
            places.append(Place(Box(left, bottom, left + width, bottom + height), cost, (x, y) if step else None))
    return places


def along_line(y: float, frame: Box, width: float, height: float, gap: float) -> list[Place]:
    """Return the places for the label of a horizontal line: above or below it, from the right end to the left."""
    places = []
    for step, fraction in enumerate(np.linspace(1, 0, 9)):
        left = frame.left + gap + fraction * (frame.right - frame.left - width - 2 * gap)
        for below in (False, True):
            bottom = y - gap - height if below else y + gap
            places.append(Place(Box(left, bottom, left + width, bottom + height), 0.1 * step + 0.05 * below))
    return places


def place_labels(
    choices: Sequence[Sequence[Place]], points: Sequence[Box], lines: Sequence[Box], frame: Box, near: float
) -> list[Place]:
    """Choose a place for every label.

    Every label in turn moves to its best place given the others, until none wants to move; this starts once from each
    label, and the best end counts.

    Parameters
    ----------
    choices
        The places for each label; those of the points first, in the order of `points`.
    points, lines
        What is to be kept free: markers, and lines where that is possible.
    frame
        Where labels should lie.
    near
        Distance at which a label without a leader seems to belong to a point, in pixels.

    Returns
    -------
    list of Place
        One place a label, in the same order.
    """
    if not choices:
        return []
    places = [place for options in choices for place in options]
    starts = np.cumsum([0, *map(len, choices)])
    boxes = np.array([place.box for place in places])
    own = np.array([place.cost for place in places])
    own += _ON_POINT * _overlap(boxes, _array(points)).sum(axis=1)
    own += _ON_LINE * _overlap(boxes, _array(lines)).sum(axis=1)
    own += _OUTSIDE * _outside(boxes, frame)
    pairs = _ON_LABEL * _overlap(boxes, boxes)
    # A leader that touches the end of a label is taken for a stroke of it.
    crossings = _ON_LABEL * _crosses(places, _array([place.box.grown(near / 3) for place in places]))
    pairs += crossings + crossings.T + _ON_LEADER * _leaders_cross(places)
    np.fill_diagonal(pairs, 0)
    own += _ON_POINT * _crosses(places, _array(points), but_own=True).sum(axis=1)
    own += _BESIDE_POINT * _beside_others(places, np.repeat(np.arange(len(choices)), np.diff(starts)), points, near)
    best: list[int] = []
    lowest = np.inf
    for first in range(len(choices)):
        chosen, cost = _settle(own, pairs, starts, first)
        if cost < lowest:
            best, lowest = chosen, cost
    return [places[index] for index in best]


def _settle(
    own: NDArray[np.float64], pairs: NDArray[np.float64], starts: NDArray[np.int64], first: int
) -> tuple[list[int], float]:
    """Move the labels, beginning with `first`, until none can do better alone; return their places and the cost."""
    count = len(starts) - 1
    chosen: list[int | None] = [None] * count
    for _ in range(20):
        before = list(chosen)
        for label in (np.arange(count) + first) % count:
            others = [place for other, place in enumerate(chosen) if other != label and place is not None]
            options = slice(starts[label], starts[label + 1])
            chosen[label] = int(starts[label] + np.argmin(own[options] + pairs[options][:, others].sum(axis=1)))
        if chosen == before:
            break
    settled = [place for place in chosen if place is not None]
    return settled, float(own[settled].sum() + pairs[np.ix_(settled, settled)].sum() / 2)


def _array(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [A, B]: 0 where boxes are apart, else from 1 (they touch) to 2 (one covers the other)."""
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    area = np.minimum(_area(a)[:, None], _area(b)[None, :])
    return np.where((width > 0) & (height > 0), 1 + shared / np.maximum(area, 1e-9), 0.0)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _outside(boxes: NDArray[np.float64], frame: Box) -> NDArray[np.float64]:
    """Return [A]: 0 for boxes within the frame, else 1 and more with each box's height that is outside."""
    left, bottom, right, top = boxes.T
    beyond = np.stack([frame.left - left, frame.bottom - bottom, right - frame.right, top - frame.top])
    out = np.clip(beyond, 0, None).sum(axis=0)
    return np.where(out > 0, 1 + out / (top - bottom), 0.0)


def _beside_others(
    places: Sequence[Place], owners: NDArray[np.int64], points: Sequence[Box], near: float
) -> NDArray[np.float64]:
    """Return [A]: how many points other than its own a place without a leader is close to."""
    boxes = _array([place.box.grown(near) for place in places])
    close = _overlap(boxes, _array(points)) > 0
    close &= owners[:, None] != np.arange(len(points))
    close &= np.array([place.leader is None for place in places])[:, None]
    return np.asarray(close.sum(axis=1), dtype=np.float64)


def _leaders_cross(places: Sequence[Place]) -> NDArray[np.float64]:
    """Return [A, A]: 1 where the leaders of two places cross."""
    ends = [(*place.leader, *_end(place)) if place.leader else (0.0, 0.0, 0.0, 0.0) for place in places]
    start, end = np.array(ends).reshape(-1, 2, 2).transpose(1, 0, 2)

    def sides(points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return [A, A]: on which side of each leader (rows) each point lies; 0 on it."""
        along, to = (end - start)[:, None], points[None] - start[:, None]
        found: NDArray[np.float64] = np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])
        return found

    apart = sides(start) * sides(end) < 0
    return (apart & apart.T).astype(np.float64)


def _end(place: Place) -> tuple[float, float]:
    """Return where a leader ends: the nearest point of its label."""
    x, y = place.leader or (0.0, 0.0)
    return min(max(x, place.box.left), place.box.right), min(max(y, place.box.bottom), place.box.top)


def _crosses(places: Sequence[Place], boxes: NDArray[np.float64], but_own: bool = False) -> NDArray[np.float64]:
    """Return [A, B]: 1 where the leader of a place crosses a box; a box in which it starts may be left out."""
    crossed = np.zeros((len(places), len(boxes)))
    for row, place in enumerate(places):
        if place.leader is None:
            continue
        x, y = place.leader
        end_x, end_y = _end(place)
        steps = np.linspace(0, 1, _LEADER_SAMPLES, endpoint=False)[:, None]
        xs, ys = x + steps * (end_x - x), y + steps * (end_y - y)
        inside = (xs > boxes[:, 0]) & (xs < boxes[:, 2]) & (ys > boxes[:, 1]) & (ys < boxes[:, 3])
        crossed[row] = inside.any(axis=0) & ~(inside[0] if but_own else False)
    return crossed

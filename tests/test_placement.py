"""Labels beside their points."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.placement import Box, around, place_labels

AREA = Box(0, 0, 300, 200)


@given(st.integers(0, 999), st.integers(0, 80))
@settings(deadline=None, max_examples=50)
def test_no_label_covers_another_or_a_shown_point_and_all_are_inside(seed: int, number: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.uniform(-10, [310, 210], (number, 2)).tolist()
    extents = generator.uniform(5, [60, 15], (number, 2)).tolist()
    boxes = place_labels([tuple(p) for p in points], [tuple(e) for e in extents], 4, AREA)
    shown = [(box, around(x, y, 8, 8)) for box, (x, y) in zip(boxes, points, strict=True) if box]
    for (box, marker), (other, other_marker) in combinations(shown, 2):
        assert not box.overlaps(other)
        assert not box.overlaps(other_marker)
        assert not marker.overlaps(other)
        assert not marker.overlaps(other_marker)
    for box, marker in shown:
        assert AREA.contains(box)
        assert AREA.contains(marker)
        assert not Box(*(round(v, 6) for v in box)).overlaps(Box(*(round(v, 6) for v in marker)))


def test_a_label_alone_is_to_the_right() -> None:
    assert place_labels([(100, 100)], [(30, 10)], 5, AREA) == [Box(105, 95, 135, 105)]


def test_at_the_right_edge_a_label_is_to_the_left() -> None:
    assert place_labels([(295, 100)], [(30, 10)], 5, AREA) == [Box(260, 95, 290, 105)]


def test_a_label_avoids_the_point_of_a_less_important_word() -> None:
    first, second = place_labels([(100, 100), (120, 100)], [(30, 10)] * 2, 5, AREA)
    assert (first, second) == (Box(65, 95, 95, 105), Box(125, 95, 155, 105))


def test_a_point_under_another_has_no_label() -> None:
    assert place_labels([(100, 100), (101, 101)], [(30, 10)] * 2, 5, AREA)[1] is None


@pytest.mark.parametrize("extent", [(301, 10), (10, 201)])
def test_a_label_that_is_larger_than_the_area_is_left_out(extent: tuple[float, float]) -> None:
    assert place_labels([(100, 100)], [extent], 5, AREA) == [None]

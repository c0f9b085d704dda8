"""Places for labels beside their points, so that no label covers another or a point.

Greedy: labels are placed in order of importance. Each takes, of the free positions around its point, the one
that covers the smallest number of other points, and is left out if no position is free.
"""

from collections.abc import Sequence
from typing import NamedTuple

# Where a label is, from its point: to the right (1), centred (0) or to the left (-1), and above or below. The
# order is that of preference (Imhof 1975, "Positioning Names on Maps").
POSITIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


class Box(NamedTuple):
    """A rectangle, in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two have more than an edge in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def contains(self, other: "Box") -> bool:
        """Whether the other is inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )


def around(x: float, y: float, width: float, height: float) -> Box:
    """The box with this centre."""
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def place_labels(
    points: Sequence[tuple[float, float]], extents: Sequence[tuple[float, float]], radius: float, area: Box
) -> list[Box | None]:
    """A box for each label beside its point, or None where there is no room.

    `extents` are the widths and heights of the labels. No box overlaps another, or the square with this
    `radius` around a point whose label is shown; all are inside `area`.

    >>> place_labels([(9, 5), (12, 5)], [(4, 2), (4, 2)], 1, Box(0, 0, 20, 10))
    [Box(left=4.0, bottom=4.0, right=8.0, top=6.0), Box(left=13.0, bottom=4.0, right=17.0, top=6.0)]
    """
    markers = [around(x, y, 2 * radius, 2 * radius) for x, y in points]
    boxes: list[Box | None] = []
    taken: list[Box] = []
    for marker, (x, y), (width, height) in zip(markers, points, extents, strict=True):
        free: list[tuple[int, int, Box]] = []
        if area.contains(marker) and not any(marker.overlaps(other) for other in taken):
            for across, up in POSITIONS:
                box = around(x + across * (radius + width / 2), y + up * (radius + height / 2), width, height)
                if area.contains(box) and not any(box.overlaps(other) for other in taken):
                    free.append((sum(box.overlaps(other) for other in markers), len(free), box))
        boxes.append(min(free)[-1] if free else None)
        if free:
            taken += [marker, min(free)[-1]]
    return boxes

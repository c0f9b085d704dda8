"""Dot-and-whisker marks, one in each row of a table, on a common axis.

Positions are percentages of the cell's width, so a strip fits any screen, and its row has the numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from stages.lib.charts.svg import element, ticks

EDGE = 4.0  # percent of the width that is left empty on both sides, for the numbers of the axis


class Scale(NamedTuple):
    """The axis that all strips of a table share."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """The position of a value on the axis, as a percentage.

        >>> Scale(0.0, 1.0).at(0.5)
        '50.00%'
        """
        share = (value - self.low) / (self.high - self.low)
        return f"{EDGE + (100 - 2 * EDGE) * min(max(share, 0.0), 1.0):.2f}%"


def scale_of(values: Sequence[float], limits: tuple[float, float] | None = (0.0, 1.0)) -> Scale:
    """A scale that contains the values, with a margin, within limits.

    >>> scale_of([0.5, 0.9])
    Scale(low=0.48, high=0.92)
    """
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.02
    low, high = low - margin, high + margin
    if limits:
        low, high = max(low, limits[0]), min(high, limits[1])
    return Scale(round(low, 6), round(high, 6))


def strip(
    scale: Scale, value: float, low: float | None, high: float | None, reference: float, strong: bool = False
) -> Markup:
    """A value as a dot, its interval as a whisker with ends, and a line at a reference."""
    parts = [
        element("line", class_="reference", x1=scale.at(reference), x2=scale.at(reference), y1="0", y2="24")
    ]
    kind = "mark strong" if strong else "mark"
    if low is not None and high is not None:
        parts.append(element("line", class_=kind, x1=scale.at(low), x2=scale.at(high), y1=12, y2=12))
        for end in (low, high):
            parts.append(element("line", class_=kind, x1=scale.at(end), x2=scale.at(end), y1=8, y2=16))
    parts.append(element("circle", class_=kind, cx=scale.at(value), cy=12, r=5 if strong else 4))
    return element("svg", *parts, class_="strip", aria_hidden="true", height=24)


def strip_axis(scale: Scale, signed: bool = False) -> Markup:
    """The numbers of the axis, as percentages or signed points."""
    form = "{:+.0f}" if signed else "{:.0f} %"
    parts = []
    for value in ticks(scale.low, scale.high, 6):
        parts.append(element("line", class_="reference", x1=scale.at(value), x2=scale.at(value), y1=0, y2=4))
        text = form.format(100 * value)
        parts.append(element("text", text, class_="tick", x=scale.at(value), y=17, text_anchor="middle"))
    return element("svg", *parts, class_="strip", aria_hidden="true", height=22)


def bar(share: float) -> Markup:
    """A bar from the left edge, for a share between 0 and 1."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    return element(
        "svg",
        element("rect", class_="bar", x=0, y=5, width=width, height=10, rx=2),
        class_="strip",
        aria_hidden="true",
        height=20,
    )

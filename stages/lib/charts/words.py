"""A map of words in the plane of the first two principal components, marked by what they are evidence for."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from stages.lib.charts.svg import LETTER, Plot, chart, element, shortened
from stages.lib.placement import Box, place_labels

NAME = 18
SMALL = 0.92 * LETTER  # mean width of a letter at 11 pixels
RADIUS = 3.5  # of a point, in pixels
LINE = 12.0  # pixels between two lines of labels


class Word(NamedTuple):
    """A word of the map. Its weight is positive or negative evidence for the last label."""

    text: str
    x: float
    y: float
    weight: float


def word_map(
    words: Sequence[Word], explained: Sequence[float], sides: tuple[str, str] | None, named: int
) -> Markup:
    """Words as points, the first `named` of them with their names where there is room.

    `sides` are the two labels that negative and positive weights stand for, or None if colours mean nothing.
    """
    plot = Plot(
        extent([word.x for word in words]),
        extent([word.y for word in words]),
        width=440,
        height=400,
        margin=(8, 8, 30, 8),
    )
    strongest = max((abs(word.weight) for word in words), default=0.0) or 1.0
    at = [(plot.x(word.x), plot.y(word.y)) for word in words]
    kinds = [side(word.weight) if sides else "none" for word in words]
    texts = [shortened(word.text, NAME) for word in words[:named]]
    extents = [(SMALL * len(text) + 2, LINE) for text in texts]
    area = Box(4, 4, plot.width - 4, plot.height - plot.bottom)
    boxes = place_labels(at[:named], extents, RADIUS, area)
    points = [
        element(
            "circle", class_=f"word {kind}", cx=x, cy=y, r=1.4 + 2 * (abs(word.weight) / strongest) ** 0.5
        )
        for word, kind, (x, y) in zip(words, kinds, at, strict=True)
    ]
    names = [
        element("text", text, class_=f"word {kind}", x=box.left + 1, y=(box.bottom + box.top) / 2 + 4)
        for text, kind, box in zip(texts, kinds, boxes, strict=False)
        if box
    ]
    axis = f"first principal component ({100 * explained[0]:.0f} % of the variance)"
    content = [
        element("rect", class_="panel", x=0, y=0, width=plot.width, height=plot.height - 24, rx=8),
        *points,
        *names,
        element("text", f"→ {axis}", class_="axis", x=8, y=plot.height - 6),
    ]
    desc = f"{len(words)} words in the plane of the first two principal components of their vectors."
    if sides:
        against = [word.text for word in words if word.weight < 0][:5]
        evidence = [word.text for word in words if word.weight > 0][:5]
        for label, group in zip(sides, (against, evidence), strict=True):
            listed = ", ".join(shortened(text, NAME) for text in group)
            desc += f" Evidence for {shortened(label, NAME)}: {listed}."
    return chart("map", "Map of the words that decide most", desc, plot.width, plot.height, content)


def side(weight: float) -> str:
    """The class of a word: what its weight is evidence for."""
    return "for" if weight > 0 else "against"


def extent(values: Sequence[float]) -> tuple[float, float]:
    """The range of the values with a margin."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.05 * (high - low)
    return low - margin, high + margin

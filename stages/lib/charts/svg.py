"""Elements of SVG, and a plot with axes.

Everything that a chart shows as text goes through `element`, which escapes it.
"""

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

LETTER = 6.2  # mean width of a letter at 12 pixels: enough to place labels
ENLARGED = 1.15  # pixels of a chart per unit, where there is room
NICE = (1, 2, 5, 10)  # steps of an axis, times a power of ten

Attribute = str | float | None


def element(name: str, *content: str, **attributes: Attribute) -> Markup:
    """An element. Its text and attributes are escaped, unless they are `Markup`.

    `class_` is written as `class`, and other underscores as hyphens. An attribute of None is left out.

    >>> print(element("text", "a < b", class_="soft", x=1.50))
    <text class="soft" x="1.5">a &lt; b</text>
    """
    written = [
        f' {key_of(key)}="{value_of(value)}"' for key, value in attributes.items() if value is not None
    ]
    inside = Markup("").join(content)
    return Markup(  # nosec B704  # names are constants, and values are escaped above
        f"<{name}{''.join(written)}>{inside}</{name}>" if content else f"<{name}{''.join(written)}/>"
    )


def key_of(name: str) -> str:
    """The name of an attribute, from that of an argument."""
    special = {"class_": "class", "viewBox": "viewBox", "preserveAspectRatio": "preserveAspectRatio"}
    return special.get(name, name.replace("_", "-"))


def value_of(value: str | float) -> str:
    """An attribute's value: an escaped text, or a number with at most two decimal places.

    >>> [value_of(value) for value in (0.125, 3.0, -0.001, '"')]
    ['0.12', '3', '0', '&#34;']
    """
    if isinstance(value, str):
        return str(escape(value))
    text = f"{value:.2f}".rstrip("0").rstrip(".") if not float(value).is_integer() else f"{value:.0f}"
    return "0" if text in ("-0", "") else text


def shortened(text: str, length: int) -> str:
    """A text on one line with at most `length` characters.

    >>> shortened("a long\\nname", 8)
    'a long …'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * length]).split())
    return line if len(line) <= length and len(text) <= 4 * length else f"{line[: length - 1]}…"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """At most `count` + 1 round numbers from `low` to `high`.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in NICE if power * nice >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def label_of(value: float) -> str:
    """A number as an axis shows it.

    >>> [label_of(value) for value in (0.25, 20000.0, 1500000.0, 0.0)]
    ['0.25', '20,000', '1.5 M', '0']
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


class Plot:
    """A rectangle with two linear axes, in pixels of the chart."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        width: float = 420,
        height: float = 300,
        margin: tuple[float, float, float, float] = (26, 24, 46, 50),  # top, right, bottom, left
    ) -> None:
        """`x` and `y` are the ranges of the axes."""
        self.width, self.height = width, height
        self.top, self.right, self.bottom, self.left = margin
        self.x_range, self.y_range = widened(x), widened(y)

    def x(self, value: float) -> float:
        """The horizontal position of a value."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """The vertical position of a value."""
        low, high = self.y_range
        return (
            self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)
        )

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """The line through points, as the `d` of a path."""
        points = [f"{value_of(self.x(x))} {value_of(self.y(y))}" for x, y in zip(xs, ys, strict=True)]
        return "M" + "L".join(points) if points else ""

    def axes(self, x_title: str, y_title: str, percent: bool = False) -> Iterator[Markup]:
        """Grid lines, numbers and titles of both axes. `percent` shows shares as percentages."""
        left, right = self.left, self.width - self.right
        top, bottom = self.top, self.height - self.bottom
        shown = (lambda value: f"{100 * value:.0f} %") if percent else label_of
        for value in ticks(*self.y_range):
            y = self.y(value)
            yield element("line", class_="grid", x1=left, x2=right, y1=y, y2=y)
            yield element("text", shown(value), class_="tick", x=left - 6, y=y + 4, text_anchor="end")
        for value in ticks(*self.x_range):
            x = self.x(value)
            yield element("line", class_="grid", x1=x, x2=x, y1=top, y2=bottom)
            yield element("text", shown(value), class_="tick", x=x, y=bottom + 16, text_anchor="middle")
        middle = (left + right) / 2
        yield element("text", x_title, class_="axis", x=middle, y=self.height - 6, text_anchor="middle")
        yield element("text", y_title, class_="axis", x=2, y=11)


def widened(span: tuple[float, float]) -> tuple[float, float]:
    """A range that is not empty."""
    low, high = span
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def chart(name: str, title: str, desc: str, width: float, height: float, content: Sequence[str]) -> Markup:
    """A whole chart, with a name and a description for screen readers. `name` is unique in the page."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", desc, id=f"{name}-desc"),
        *content,
        class_="chart",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        viewBox=f"0 0 {value_of(width)} {value_of(height)}",
        width=width * ENLARGED,
        id=name,
    )


def legend(entries: Sequence[tuple[str, str]], x: float, y: float) -> Iterator[Markup]:
    """A line of each kind with its name: (class of the line, name), one below the other."""
    for number, (kind, name) in enumerate(entries):
        at = y + 16 * number
        yield element("line", class_=f"line {kind}", x1=x, x2=x + 22, y1=at - 4, y2=at - 4)
        yield element("text", name, class_="name", x=x + 28, y=at)

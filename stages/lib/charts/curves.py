"""Charts of lines: training, ROC, precision and recall, reliability, and accuracy by coverage.

Lines differ in their dashes and carry their names, so that they are understandable without colours.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from stages.lib.charts.svg import Plot, chart, element, legend, shortened

NAME = 26  # characters of a label in a chart
DISTINCT = 5  # lines that differ in their dashes; of more, only the lowest have names
LOWEST = 3
GOOD = 0.65  # mean area from which curves of precision and recall leave the lower left corner free
EDGE = 0.95  # share answered from which a name is to the left of its point
APART = 30  # pixels between the names of two thresholds
DOTTED = 40  # points up to which each has a dot

Row = dict[str, str]  # of a small CSV file


class Curve(NamedTuple):
    """A named line through points."""

    name: str
    xs: list[float]
    ys: list[float]
    known_area: float | None = None  # of a curve of which the points are a part

    @property
    def area(self) -> float:
        """The area under the curve: by trapezoids, unless it is known.

        >>> Curve("", [0, 1], [0, 1]).area
        0.5
        """
        if self.known_area is not None:
            return self.known_area
        points = pairwise(zip(self.xs, self.ys, strict=True))
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in points)


def training(name: str, rows: Sequence[Row], x: str, ys: Mapping[str, str]) -> Markup:
    """Losses during training. `x` is the column of the steps, `ys` maps a column to the name of its line."""
    steps = [float(row[x]) for row in rows]
    lines = [Curve(shown, steps, [float(row[column]) for row in rows]) for column, shown in ys.items()]
    every = [y for line in lines for y in line.ys]
    pad = 0.06 * (max(every) - min(every))
    plot = Plot((min(steps), max(steps)), (min(every) - pad, max(every) + pad))
    content = [*plot.axes(x, "loss (nats)")]
    for number, line in enumerate(lines, 1):
        content.append(element("path", class_=f"line s{number}", d=plot.path(line.xs, line.ys)))
        if len(steps) < DOTTED:
            content += [
                element("circle", class_=f"dot s{number}", cx=plot.x(x), cy=plot.y(y), r=2.5)
                for x, y in zip(line.xs, line.ys, strict=True)
            ]
    if len(lines) > 1:
        content += legend([(f"s{n}", line.name) for n, line in enumerate(lines, 1)], plot.width - 130, 30)
    ends = "; ".join(f"{line.name} from {line.ys[0]:.3g} to {line.ys[-1]:.3g}" for line in lines)
    return chart(name, "Loss during training", f"Loss by {x}: {ends}.", plot.width, plot.height, content)


def square(name: str, title: str, lines: Sequence[Curve], axes: tuple[str, str], key: str) -> Markup:
    """Curves of labels in the unit square. `key` is the side that good curves leave free
    for the legend: "left" or "right".

    With many labels, all lines are thin, and only those with the smallest area have a name.
    """
    plot = Plot((0, 1), (0, 1), height=340)
    content = [*plot.axes(*axes, percent=True)]
    by_area = sorted(lines, key=lambda line: (round(line.area, 6), line.name))
    named = list(lines) if len(lines) <= DISTINCT else by_area[:LOWEST]
    for line in lines:
        if line not in named:
            content.append(element("path", class_="line faint", d=plot.path(line.xs, line.ys)))
    entries = []
    for number, line in enumerate(named, 1):
        content.append(element("path", class_=f"line s{number}", d=plot.path(line.xs, line.ys)))
        entries.append((f"s{number}", f"{shortened(line.name, NAME)} ({line.area:.3f})"))
    if len(named) < len(lines):
        entries.append(("faint", f"{len(lines) - len(named)} other labels"))
    x, y = plot.x(0.42), plot.y(0.05) - 16 * (len(entries) - 1)
    if key == "left" and sum(line.area for line in named) > GOOD * len(named):
        x = plot.x(0.06)
    elif key == "left":  # poor curves are low
        y = plot.y(0.95)
    content += legend(entries, x, y)
    areas = ", ".join(f"{shortened(line.name, NAME)} {line.area:.3f}" for line in by_area[:LOWEST])
    desc = f"One line for each of {len(lines)} labels. Smallest areas under the curve: {areas}."
    return chart(name, title, desc, plot.width, plot.height, content)


def roc(rows: Sequence[Row]) -> Markup:
    """Receiver operating characteristic of each label: of a random guess it is the diagonal."""
    lines = [
        Curve(
            label,
            [float(row["false_positive_rate"]) for row in rows if row["label"] == label],
            [float(row["true_positive_rate"]) for row in rows if row["label"] == label],
        )
        for label in dict.fromkeys(row["label"] for row in rows)
    ]
    axes = ("false positive rate", "true positive rate")
    return square("roc", "Receiver operating characteristic", lines, axes, "right")


def precision_recall(lines: Sequence[Curve]) -> Markup:
    """Precision by recall of each label."""
    return square("pr", "Precision and recall", lines, ("recall", "precision"), "left")


def reliability(rows: Sequence[Row]) -> Markup:
    """Accuracy by probability, before and after the temperature. On the diagonal, probabilities are
    calibrated."""
    low = min(float(row["probability"]) for row in rows)
    floor = min([low, *(float(row["low"]) for row in rows if row["calibration"] == "after")])
    plot = Plot((low - 0.02, 1), (floor, 1), height=340)
    content = [*plot.axes("probability of the predicted label", "accuracy", percent=True)]
    content.append(element("path", class_="line reference", d=plot.path([low, 1], [low, 1])))
    for kind, when in (("s2", "before"), ("s1", "after")):
        part = [row for row in rows if row["calibration"] == when]
        xs, ys = ([float(row[column]) for row in part] for column in ("probability", "accuracy"))
        content.append(element("path", class_=f"line {kind}", d=plot.path(xs, ys)))
        for row, x, y in zip(part, xs, ys, strict=True):
            if when == "after":
                ends = (plot.y(float(row["low"])), plot.y(float(row["high"])))
                content.append(
                    element("line", class_="whisker", x1=plot.x(x), x2=plot.x(x), y1=ends[0], y2=ends[1])
                )
            words = f"{row['reviews']} reviews: probability {100 * x:.0f} %, accuracy {100 * y:.0f} %"
            dot = element(
                "circle", element("title", words), cx=plot.x(x), cy=plot.y(y), r=3, class_=f"dot {kind}"
            )
            content.append(dot)
    entries = [("s1", "calibrated, with 95 % interval"), ("s2", "before calibration"), ("reference", "ideal")]
    content += legend(entries, plot.x(1) - 200, plot.y(plot.y_range[0]) - 42)
    desc = "Accuracy on test reviews by the probability of the predicted label, before and after calibration."
    return chart("reliability", "Reliability", desc, plot.width, plot.height, content)


def coverage(rows: Sequence[Row], marked: Sequence[float]) -> Markup:
    """Accuracy on the reviews that are answered, by their share, with its interval. Some thresholds are
    marked."""
    xs, ys, lows, highs = ([float(row[c]) for row in rows] for c in ("coverage", "accuracy", "low", "high"))
    plot = Plot((0, 1), (min(lows), 1), height=340)
    content = [*plot.axes("share of the reviews that is answered", "accuracy on them", percent=True)]
    band = plot.path(xs + xs[::-1], highs + lows[::-1])
    content.append(element("path", class_="band", d=f"{band}Z"))
    content.append(element("path", class_="line s1", d=plot.path(xs, ys)))
    last = math.inf  # where the last name is
    for row, x, y in zip(rows, xs, ys, strict=True):
        if float(row["threshold"]) in marked:
            content.append(element("circle", class_="dot s1", cx=plot.x(x), cy=plot.y(y), r=3.5))
            at = {"x": plot.x(x) + 4, "y": plot.y(y) - 8}
            if last - at["x"] > APART:
                last = at["x"]
                text, anchor = f"{100 * float(row['threshold']):.0f} %", "end" if x > EDGE else None
                content.append(element("text", text, class_="name", text_anchor=anchor, **at))
    desc = "Accuracy by the share of reviews that is answered, if only the more certain predictions are."
    return chart("coverage", "Coverage and accuracy", desc, plot.width, plot.height, content)

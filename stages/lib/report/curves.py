"""Curves and tables from data/predictions.parquet and metrics/evaluation_coverage.csv."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stages.lib.arrays import Bool, Float64
from stages.lib.charts.curves import Curve, Row

POINTS = 200  # of a curve: enough for the eye
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # that the table of abstaining lists


def order_of(predictions: pa.Table) -> list[str] | None:
    """The labels from the lowest to the highest, if they have an order."""
    order: list[str] | None = json.loads(predictions.schema.metadata[b"labels"])["order"]
    return order


def pr_points(positive: Bool, probabilities: Float64) -> tuple[list[float], list[float]]:
    """Recall and precision at every threshold: (N,), (N,) -> the points of the curve, the first at recall 0.

    Reference: scikit-learn's `precision_recall_curve`. Test: tests/test_report_curves.py,
    test_precision_and_recall_equal_those_of_scikit_learn.

    >>> pr_points(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    ([0.0, 0.5, 0.5, 1.0], [1.0, 1.0, 0.5, 0.6666666666666666])
    """
    order = np.argsort(-probabilities, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.flatnonzero(np.append(np.diff(probabilities[order]) != 0, True))  # of each run of equal values
    recall, precision = hits[last] / hits[-1], hits[last] / (last + 1)
    return [0.0, *recall.tolist()], [float(precision[0]), *precision.tolist()]


def average_precision(recall: Sequence[float], precision: Sequence[float]) -> float:
    """The area under a curve of precision and recall, in steps.

    >>> average_precision([0.0, 0.5, 0.5, 1.0], [1.0, 1.0, 0.5, 0.75])
    0.875
    """
    steps = zip(pairwise(recall), precision[1:], strict=True)
    return sum((after - before) * height for (before, after), height in steps)


def thinned(values: Sequence[float], count: int = POINTS) -> list[float]:
    """At most about `count` values at equal distances, with the first and the last.

    >>> thinned([0, 1, 2, 3, 4, 5, 6], 4)
    [0, 2, 4, 6]
    """
    step = max(1, math.ceil((len(values) - 1) / (count - 1)))
    return [*values[:-1:step], *values[-1:]]


def precision_recall(predictions: pa.Table, names: Sequence[str], positive: str | None) -> list[Curve]:
    """A curve of each label that some but not all test reviews have; of two labels, of the positive one."""
    labels = np.array(predictions["label"].to_pylist(), dtype=object)
    lines = []
    for name in names if positive is None else [positive]:
        is_label = (labels == name).astype(bool)
        if is_label.any() and not is_label.all():
            column = predictions[f"probability_{name}"].to_numpy()
            recall, precision = pr_points(is_label, column)
            area = average_precision(recall, precision)
            lines.append(Curve(name, thinned(recall), thinned(precision), area))
    return lines


class Abstaining(NamedTuple):
    """What answering only from a threshold gives."""

    threshold: float
    coverage: float
    accuracy: float
    low: float
    high: float
    reviews: int


def abstaining(rows: Sequence[Row]) -> list[Abstaining]:
    """The rows of metrics/evaluation_coverage.csv at the listed thresholds, and at its lowest."""
    columns = ("threshold", "coverage", "accuracy", "low", "high")
    every = [
        Abstaining(reviews=int(row["reviews"]), **{name: float(row[name]) for name in columns})
        for row in rows
    ]
    return [row for number, row in enumerate(every) if number == 0 or round(row.threshold, 6) in THRESHOLDS]


def runners_up(predictions: pa.Table, names: Sequence[str]) -> tuple[list[str], Float64]:
    """The most probable label of each row besides the predicted one, and its probability: (N,), (N,)."""
    columns = np.stack([predictions[f"probability_{name}"].to_numpy() for name in names], 1)  # (N, L)
    number = {name: n for n, name in enumerate(names)}
    predicted = np.array([number[name] for name in predictions["predicted"].to_pylist()], np.int64)
    columns[np.arange(len(columns)), predicted] = -1
    second = columns.argmax(1)
    return [names[n] for n in second], columns.max(1)

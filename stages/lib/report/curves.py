"""Curves and tables from data/predictions.parquet and metrics/evaluation_coverage.csv."""

import json
from collections.abc import Sequence
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
    """Recall and precision at every threshold, thinned out: (N,), (N,) -> at most `POINTS` points.

    scikit-learn's `precision_recall_curve` without its last point. Test: tests/test_report_curves.py,
    test_precision_and_recall_equal_those_of_scikit_learn.

    >>> pr_points(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    ([0.5, 0.5, 1.0], [1.0, 0.5, 0.6666666666666666])
    """
    order = np.argsort(-probabilities, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.flatnonzero(np.append(np.diff(probabilities[order]) != 0, True))  # of each run of equal values
    recall, precision = hits[last] / hits[-1], hits[last] / (last + 1)
    if len(last) > POINTS:
        chosen = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1, POINTS)))
        recall, precision = recall[chosen], precision[chosen]
    return recall.tolist(), precision.tolist()


def precision_recall(predictions: pa.Table, names: Sequence[str], positive: str | None) -> list[Curve]:
    """A curve of each label that some but not all test reviews have; of two labels, of the positive one."""
    labels = np.array(predictions["label"].to_pylist(), dtype=object)
    lines = []
    for name in names if positive is None else [positive]:
        is_label = (labels == name).astype(bool)
        if is_label.any() and not is_label.all():
            column = predictions[f"probability_{name}"].to_numpy()
            lines.append(Curve(name, *pr_points(is_label, column)))
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

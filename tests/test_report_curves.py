"""The curves of the report: precision and recall, and what abstaining gives."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from stages.lib.report.curves import (
    POINTS,
    abstaining,
    average_precision,
    order_of,
    pr_points,
    precision_recall,
    runners_up,
    thinned,
)

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=40).filter(
    lambda rows: any(positive for positive, _ in rows)
)


def predictions(**columns: list[object]) -> pa.Table:
    kept = json.dumps({"positive": None, "order": ["a", "b"]})
    return pa.table(columns, metadata={"labels": kept})


@given(ROWS)
def test_precision_and_recall_equal_those_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    positive = np.array([label for label, _ in rows])
    probability = np.array([value / 8 for _, value in rows])
    recall, precision = pr_points(positive, probability)
    expected_precision, expected_recall, _ = precision_recall_curve(positive, probability)
    assert recall[1:] == pytest.approx(expected_recall[-2::-1].tolist())
    assert precision[1:] == pytest.approx(expected_precision[-2::-1].tolist())
    expected = average_precision_score(positive, probability)
    assert average_precision(recall, precision) == pytest.approx(expected)


def test_a_long_curve_is_thinned_but_not_its_area() -> None:
    number = 5000
    labels = ["a" if n % 3 else "b" for n in range(number)]
    column = [n / number for n in range(number)]
    (line,) = precision_recall(predictions(label=labels, probability_a=column), ["a"], "a")
    assert len(line.xs) == len(line.ys) <= POINTS + 1
    assert (line.xs[0], line.xs[-1]) == (0, 1)
    expected = average_precision_score([label == "a" for label in labels], column)
    assert line.area == pytest.approx(expected)


def test_labels_that_all_or_no_reviews_have_get_no_curve() -> None:
    table = predictions(label=["a", "a"], probability_a=[0.5, 0.75], probability_b=[0.5, 0.25])
    assert precision_recall(table, ["a", "b"], None) == []


def test_thinning_keeps_the_ends() -> None:
    assert thinned([1.0], 4) == [1.0]
    assert thinned(list(range(1000)), 10)[-1] == 999


def test_the_runner_up_is_the_most_probable_other_label() -> None:
    # The second row's label was predicted by a threshold, with the lower probability.
    table = predictions(predicted=["a", "b"], probability_a=[0.9, 0.6], probability_b=[0.1, 0.4])
    labels, probability = runners_up(table, ["a", "b"])
    assert labels == ["b", "a"]
    assert probability.tolist() == [0.1, 0.6]


def test_abstaining_lists_round_thresholds_and_the_lowest() -> None:
    columns = ("threshold", "coverage", "accuracy", "low", "high", "reviews")
    rows = [
        dict(zip(columns, (str(percent / 100), "0.5", "0.75", "0.5", "1.0", "2"), strict=True))
        for percent in range(57, 100)
    ]
    assert [row.threshold for row in abstaining(rows)] == [0.57, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99]
    assert abstaining(rows)[0].reviews == 2


def test_the_order_of_labels_is_that_of_the_file() -> None:
    assert order_of(predictions(label=["a"])) == ["a", "b"]

"""Scores: metrics of weighted documents, worked by hand and against scikit-learn."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from stages.lib.arrays import Float64, Int32, Int64
from stages.lib.intervals import resamples
from stages.lib.model import decide
from stages.lib.scores import (
    LabelSet,
    area_under_curves,
    on_all_documents,
    ordinal_metrics,
    roc_points,
    weighted_metrics,
)

LABELS = np.array([0, 0, 0, 1, 1, 1])
SECOND = np.array([0.1, 0.4, 0.6, 0.8, 0.9, 0.3])
PROBABILITIES = np.stack([1 - SECOND, SECOND], 1)

ROWS = st.integers(2, 4).flatmap(
    lambda labels: st.lists(
        st.tuples(
            st.integers(0, labels - 1),  # the label
            st.lists(st.integers(1, 6), min_size=labels, max_size=labels),  # few values: many ties
            st.integers(0, 3),  # the weight
        ),
        min_size=1,
        max_size=30,
    )
)


def arrays(rows: list[tuple[int, list[int], int]]) -> tuple[Int64, Float64, Int64, Int32]:
    """Labels, probabilities, predicted labels and weights (1, N) of drawn rows, not all weights 0."""
    probabilities = np.array([row[1] for row in rows], float)
    probabilities /= probabilities.sum(1, keepdims=True)
    weights = np.array([[row[2] for row in rows]], np.int32)
    weights[0, 0] += 1
    return np.array([row[0] for row in rows]), probabilities, probabilities.argmax(1), weights


@given(rows=ROWS)
@settings(deadline=None, max_examples=200)
@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of labels that do not occur
def test_weighted_metrics_equal_scikit_learn(rows: list[tuple[int, list[int], int]]) -> None:
    y_true, probabilities, predicted, weights = arrays(rows)
    result = {
        name: value[0] for name, value in weighted_metrics(y_true, probabilities, predicted)(weights).items()
    }
    labels, drawn = np.arange(probabilities.shape[1]), weights[0]
    kept = slice(1, 2) if len(labels) == 2 else slice(None)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        y_true, predicted, labels=labels, sample_weight=drawn, zero_division=0.0
    )
    one_hot = y_true[:, None] == labels
    off = ((probabilities - one_hot) ** 2).sum(1) / (2 if len(labels) == 2 else 1)
    expected = {
        "accuracy": sk.accuracy_score(y_true, predicted, sample_weight=drawn),
        "precision": precision[kept].mean(),
        "recall": recall[kept].mean(),
        "f1": f1[kept].mean(),
        "mcc": sk.matthews_corrcoef(y_true, predicted, sample_weight=drawn),
        "log_loss": sk.log_loss(y_true, probabilities, labels=labels, sample_weight=drawn),
        "brier": np.average(off, weights=drawn),
        "roc_auc": np.nan,
        "pr_auc": np.nan,
    }
    ranked = [
        (sk.roc_auc_score(positive, probability, sample_weight=drawn),
         sk.average_precision_score(positive, probability, sample_weight=drawn))
        for positive, probability in zip(one_hot.T[kept], probabilities.T[kept], strict=True)
        if len(np.unique(positive[drawn > 0])) == 2
    ]  # fmt: skip
    if ranked:
        expected["roc_auc"], expected["pr_auc"] = np.mean(ranked, axis=0)
    assert result == pytest.approx(expected, nan_ok=True, abs=1e-9)


@given(rows=ROWS)
@settings(deadline=None)
def test_a_weight_of_two_equals_the_document_twice(rows: list[tuple[int, list[int], int]]) -> None:
    y_true, probabilities, predicted, weights = arrays(rows)
    many = np.repeat(np.arange(len(y_true)), weights[0])
    plain = weighted_metrics(y_true[many], probabilities[many], predicted[many])(
        np.ones((1, len(many)), np.int32)
    )
    drawn = weighted_metrics(y_true, probabilities, predicted)(weights)
    for name, value in drawn.items():
        assert value == pytest.approx(plain[name], nan_ok=True, abs=1e-9)


def test_areas_with_a_tie_by_hand() -> None:
    positive = np.array([True, False, True, False])
    areas = area_under_curves(positive, np.array([0.9, 0.5, 0.5, 0.1]))
    roc, precision = areas(np.array([[1, 1, 1, 1], [0, 2, 1, 0], [1, 0, 1, 0]], np.int32))
    assert roc[:2].tolist() == [(1 + 1 + 0.5 + 1) / 4, 0.5]
    assert precision[:2] == pytest.approx([(1 + 2 / 3) / 2, 1 / 3])
    assert np.isnan([roc[2], precision[2]]).all()


def test_a_block_of_resamples_equals_them_one_by_one() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(3), 60).round(2)
    metrics = weighted_metrics(rng.integers(0, 3, 60), probabilities, probabilities.argmax(1))
    weights = next(resamples(60, 8, seed=1))
    one_by_one = [metrics(row[None]) for row in weights]
    for name, values in metrics(weights).items():
        assert values == pytest.approx([one[name][0] for one in one_by_one])


def test_areas_are_optional() -> None:
    probabilities = np.array([[0.2, 0.8], [0.6, 0.4]])
    result = weighted_metrics(np.array([1, 0]), probabilities, np.array([1, 0]), areas=False)
    assert not {"roc_auc", "pr_auc"} & set(result(np.ones((1, 2), np.int32)))


def measure(labels: Int64, probabilities: Float64) -> dict[str, float]:
    """The metrics of all documents at a threshold of 0.5."""
    metrics = weighted_metrics(labels, probabilities, decide(probabilities, 0.5))
    return on_all_documents(metrics, len(labels))


def test_metrics_of_two_labels_by_hand() -> None:
    result = measure(LABELS, PROBABILITIES)
    right = [0.9, 0.6, 0.4, 0.8, 0.9, 0.3]
    assert result == pytest.approx(
        {
            "accuracy": 4 / 6,
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
            "mcc": (2 * 2 - 1 * 1) / 9,
            "log_loss": -sum(map(log, right)) / 6,
            "brier": sum((1 - p) ** 2 for p in right) / 6,
            "roc_auc": 7 / 9,
            "pr_auc": (1 / 3) * (1 / 1 + 2 / 2 + 3 / 5),
        }
    )


def test_metrics_of_three_labels_are_means_over_the_labels() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    result = measure(np.array([0, 1, 2, 1]), probabilities)
    assert result["accuracy"] == 3 / 4
    assert result["precision"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert result["recall"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    off = [0.16 + 0.09 + 0.01, 0.04 + 0.25 + 0.09, 0.01 + 0.04 + 0.09, 0.25 + 0.36 + 0.01]
    assert result["brier"] == pytest.approx(sum(off) / 4)
    assert "roc_auc" in result


def test_areas_are_omitted_if_a_label_does_not_occur() -> None:
    result = measure(np.array([1, 1]), PROBABILITIES[:2])
    assert not {"roc_auc", "pr_auc"} & set(result)
    assert all(np.isfinite(list(result.values())))


@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60).filter(
        lambda rows: len({label for label, _ in rows}) == 2
    )
)
@settings(deadline=None)
def test_the_roc_curve_equals_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    positive, probabilities = np.array([row[0] for row in rows]), np.array([row[1] / 9 for row in rows])
    false, true, _ = sk.roc_curve(positive, probabilities, drop_intermediate=False)
    points = roc_points(positive, probabilities, 1000)
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (1.0, 1.0)
    all_points = set(zip(false.round(9).tolist(), true.round(9).tolist(), strict=True))
    assert {(round(x, 9), round(y, 9)) for x, y in points} <= all_points
    area = np.trapezoid([y for _, y in points], [x for x, _ in points])
    assert area == pytest.approx(sk.roc_auc_score(positive, probabilities))


def test_a_long_roc_curve_is_thinned_out_and_keeps_its_ends() -> None:
    draw = np.random.default_rng(1)
    points = roc_points(draw.random(5000) < 0.5, draw.random(5000), 200)
    assert len(points) <= 200
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))


@given(rows=ROWS)
@settings(deadline=None, max_examples=100)
@pytest.mark.filterwarnings("ignore")
def test_ordinal_metrics_equal_scikit_learn(rows: list[tuple[int, list[int], int]]) -> None:
    y_true, _, predicted, weights = arrays(rows)
    result = {name: value[0] for name, value in ordinal_metrics(y_true, predicted)(weights).items()}
    drawn, apart = weights[0], np.abs(y_true - predicted)
    kappa = sk.cohen_kappa_score(
        y_true, predicted, weights="quadratic", sample_weight=drawn, labels=np.arange(4)
    )
    assert result == pytest.approx(
        {
            "mean_absolute_error": sk.mean_absolute_error(y_true, predicted, sample_weight=drawn),
            "within_one": np.average(apart <= 1, weights=drawn),
            "quadratic_kappa": 0.0 if np.isnan(kappa) else kappa,
        },
        abs=1e-9,
    )


def test_the_positive_label_may_be_the_first() -> None:
    predicted = (SECOND > 0.5).astype(int)
    metrics = LabelSet.of(["Happy", "sad"], "Happy", None).metrics(LABELS, PROBABILITIES, predicted)
    result = on_all_documents(metrics, len(LABELS))
    assert result["f1"] == pytest.approx(sk.f1_score(LABELS, predicted, pos_label=0))
    assert result["recall"] == pytest.approx(sk.recall_score(LABELS, predicted, pos_label=0))
    assert result["pr_auc"] == pytest.approx(sk.average_precision_score(LABELS == 0, 1 - SECOND))
    assert "within_one" not in result


def test_labels_with_an_order_are_ranked_by_it() -> None:
    names, order = ["high", "low", "middle"], ["low", "middle", "high"]
    known = LabelSet.of(names, None, order)
    probabilities = np.eye(3)[[1, 0]]
    result = on_all_documents(known.metrics(np.array([2, 1]), probabilities, np.array([1, 0])), 2)
    assert result["mean_absolute_error"] == 1.5  # middle as low, low as high
    assert result["within_one"] == 0.5

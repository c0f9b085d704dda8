"""Metrics of a classifier as functions of the documents' weights, so that a bootstrap is a matrix product.

Reference: `sklearn.metrics`. Test: tests/test_scores.py, test_weighted_metrics_equal_scikit_learn.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.lib.arrays import Bool, Float64, Int32, Int64
from stages.lib.intervals import Metrics

RANKED = 10  # up to this many labels, the areas under the curves are bootstrapped; each takes a second


class LabelSet(NamedTuple):
    """The labels of a corpus."""

    names: list[str]  # L of them
    positive: int = 1  # of two labels, the one whose precision, recall and F1 are reported
    ranks: Int64 | None = None  # (L,) the position of each in their order, if they have one

    @classmethod
    def of(cls, names: Sequence[str], positive: str | None, order: Sequence[str] | None) -> "LabelSet":
        """The labels, from the fields of data/labels.json.

        >>> LabelSet.of(["bad", "good", "so-so"], None, ["bad", "so-so", "good"])
        LabelSet(names=['bad', 'good', 'so-so'], positive=1, ranks=array([0, 2, 1]))
        """
        ranks = None if order is None else np.array([order.index(name) for name in names], np.int64)
        return cls(list(names), names.index(positive) if positive is not None else 1, ranks)

    def metrics(
        self, labels: Int64, probabilities: Float64, predicted: Int64, areas: bool = True
    ) -> Metrics[str]:
        """`weighted_metrics` for these labels, with `ordinal_metrics` if they have an order."""
        plain = weighted_metrics(labels, probabilities, predicted, areas, self.positive)
        if self.ranks is None:
            return plain
        ordinal = ordinal_metrics(self.ranks[labels], self.ranks[predicted])
        return lambda weights: plain(weights) | ordinal(weights)


def weighted_metrics(
    labels: Int64, probabilities: Float64, predicted: Int64, areas: bool = True, positive: int = 1
) -> Metrics[str]:
    """The metrics of one model as a function of weights (Q, N) of the documents.

    labels (N,), probabilities (N, L), predicted (N,). With two labels, precision, recall, F1 and areas are
    those of the `positive` one; with more, means over the labels, each against the rest. A quotient with a
    zero denominator is 0; an area is NaN if a resample has no documents to rank, and omitted unless `areas`.
    The Brier score of two labels counts one of them, of more all.

    >>> labels, second = np.array([0, 1]), np.array([0.2, 0.9])
    >>> metrics = weighted_metrics(labels, np.stack([1 - second, second], 1), np.array([0, 1]))
    >>> metrics(np.ones((1, 2), np.int32))["accuracy"]
    array([1.])
    """
    count = probabilities.shape[1]
    averaged = [positive] if count == 2 else list(range(count))  # one of two labels represents both
    numbers = np.arange(count)
    is_label, is_predicted = labels[:, None] == numbers, predicted[:, None] == numbers  # (N, L)
    epsilon = np.finfo(np.float64).eps
    loss = -np.log(probabilities[np.arange(len(labels)), labels].clip(epsilon, 1 - epsilon))  # (N,)
    brier = ((probabilities - is_label) ** 2).sum(1) / (2 if count == 2 else 1)  # (N,)
    # Everything but the areas is a sum over the documents, so all of them are one matrix product.
    columns = np.column_stack([is_label, is_predicted, is_label & is_predicted, loss, brier]).astype(
        np.float64
    )
    curves = [area_under_curves(is_label[:, n], probabilities[:, n]) for n in averaged] if areas else []

    def metrics(weights: Int32) -> dict[str, Float64]:
        sums = weights.astype(np.float64) @ columns  # (Q, 3 L + 2)
        labelled, predictions, correct = np.split(sums[:, :-2], 3, axis=1)  # (Q, L)
        documents = labelled.sum(1)  # (Q,)
        results = {
            "accuracy": correct.sum(1) / documents,
            "precision": ratio(correct, predictions)[:, averaged].mean(1),
            "recall": ratio(correct, labelled)[:, averaged].mean(1),
            "f1": ratio(2 * correct, labelled + predictions)[:, averaged].mean(1),
            "mcc": matthews(labelled, predictions, correct),
            "log_loss": sums[:, -2] / documents,
            "brier": sums[:, -1] / documents,
        }
        if curves:
            values = np.array([curve(weights) for curve in curves])  # (L, 2, Q)
            defined = ~np.isnan(values)
            counts = np.where(defined.any(0), defined.sum(0), np.nan)  # 0 / 0 without its warning
            means = np.where(defined, values, 0).sum(0) / counts
            results |= {"roc_auc": means[0], "pr_auc": means[1]}
        return results

    return metrics


def ordinal_metrics(labels: Int64, predicted: Int64) -> Metrics[str]:
    """The metrics of predictions (N,) of labels (N,) on a scale, both as positions on it, as a function of
    weights (Q, N).

    `mean_absolute_error` is in steps of the scale, `within_one` the share that is at most one step off.
    `quadratic_kappa` is 1 for equal positions and 0 for those of chance (Cohen 1968, "Weighted kappa"); it is
    0 if all positions are equal.

    >>> metrics = ordinal_metrics(np.array([0, 1, 4]), np.array([0, 2, 1]))(np.ones((1, 3), np.int32))
    >>> {name: value.round(2).tolist() for name, value in metrics.items()}
    {'mean_absolute_error': [1.33], 'within_one': [0.67], 'quadratic_kappa': [0.17]}
    """
    a, b = labels.astype(np.float64), predicted.astype(np.float64)
    apart = np.abs(a - b)
    columns = np.column_stack([apart, apart <= 1, apart**2, a, b, a**2 + b**2])

    def metrics(weights: Int32) -> dict[str, Float64]:
        documents = weights.sum(1)
        off, close, squares, sum_a, sum_b, both = (weights @ columns).T  # (Q,)
        by_chance = both - 2 * sum_a * sum_b / documents  # squared distance of independent positions
        return {
            "mean_absolute_error": off / documents,
            "within_one": close / documents,
            "quadratic_kappa": np.where(by_chance > 0, 1 - ratio(squares, by_chance), 0),
        }

    return metrics


def on_all_documents(metrics: Metrics[Any], n: int) -> dict[Any, float]:
    """The metrics of n documents with weight one, without those that are undefined."""
    values = metrics(np.ones((1, n), np.int32))
    return {name: float(value[0]) for name, value in values.items() if not np.isnan(value[0])}


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Float64:
    """The quotient, or 0 where the denominator is 0.

    >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return numerator / np.where(denominator > 0, denominator, 1)


def matthews(labelled: Float64, predictions: Float64, correct: Float64) -> Float64:
    """Matthews' correlation from counts (Q, L) of labels, predictions and correct predictions: (Q,).

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    documents = labelled.sum(1)
    covariance = correct.sum(1) * documents - (labelled * predictions).sum(1)
    scale = np.sqrt((documents**2 - (labelled**2).sum(1)) * (documents**2 - (predictions**2).sum(1)))
    return ratio(covariance, scale)


def area_under_curves(positive: Bool, probabilities: Float64) -> Callable[[Int32], tuple[Float64, Float64]]:
    """The areas under the ROC and the precision-recall curve as a function of weights (Q, N): (Q,) each.

    `positive` (N,) says which documents have the label, `probabilities` (N,) are the label's. Documents of
    equal probability form one step of both curves; precision is not interpolated (average precision). NaN
    if a resample has only positive or only negative documents.
    """
    order = np.argsort(-probabilities, kind="stable")
    positives, negatives = order[positive[order]], order[~positive[order]]  # (P,) and (N - P,)
    falling, falling_negatives = -probabilities[positives], -probabilities[negatives]  # ascending
    # For each positive: how many documents of either kind are at least as probable, and how many more so.
    positives_to, negatives_to = (
        np.searchsorted(values, falling, side="right") for values in (falling, falling_negatives)
    )
    negatives_before = np.searchsorted(falling_negatives, falling, side="left")
    has_tied_positives = bool((positives_to != np.arange(1, len(positives) + 1)).any())
    has_tied_negatives = bool((negatives_before != negatives_to).any())

    def areas(weights: Int32) -> tuple[Float64, Float64]:
        gained = weights.take(positives, axis=1)  # (Q, P)
        true = gained.cumsum(1, dtype=np.int32)
        passed = np.zeros((len(weights), len(negatives) + 1), np.int32)
        weights.take(negatives, axis=1).cumsum(1, out=passed[:, 1:])
        total_positives, total_negatives = gained.sum(1), passed[:, -1]
        false = passed.take(negatives_to, axis=1)  # (Q, P) negatives at least as probable
        before = passed.take(negatives_before, axis=1) if has_tied_negatives else false
        if has_tied_positives:
            true = true.take(positives_to - 1, axis=1)
        # A pair counts one if the positive is more probable, and half if both are equal.
        ranked = total_negatives * total_positives - np.einsum("bp,bp->b", gained, (false + before) / 2)
        precision = np.einsum("bp,bp->b", gained, ratio(true, true + false))
        defined = np.where((total_positives > 0) & (total_negatives > 0), 1.0, np.nan)
        roc = ratio(ranked, total_positives * total_negatives)
        return roc * defined, ratio(precision, total_positives) * defined

    return areas


def roc_points(positive: Bool, probabilities: Float64, count: int) -> list[tuple[float, float]]:
    """At most `count` points (false positive rate, true positive rate) of the ROC curve, from (0, 0).

    >>> roc_points(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]), 10)
    [(0.0, 0.0), (0.0, 0.5), (1.0, 0.5), (1.0, 1.0)]
    """
    order = np.argsort(-probabilities, kind="stable")
    ordered = positive[order]
    ends = np.append(np.flatnonzero(np.diff(probabilities[order])), len(order) - 1)  # of equal values
    true, false = np.cumsum(ordered)[ends], np.cumsum(~ordered)[ends]
    points = np.stack([np.append(0, false), np.append(0, true)], 1)
    corner = np.diff(points, 2, axis=0).any(1)  # the others are on a line between their neighbours
    rates = points[np.concatenate([[True], corner, [True]])] / points[-1]
    shown = np.unique(np.linspace(0, len(rates) - 1, count).astype(int))
    return [(float(x), float(y)) for x, y in rates[shown]]

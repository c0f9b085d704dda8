"""Calibration: does a probability of 0.9 mean right nine times in ten?

Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.arrays import Bool, Float64, Int32, Int64
from stages.lib.intervals import LEVEL, wilson

BINS = 15  # of probabilities, as in Guo et al.
LENGTHS = (2, 5, 10, 20, 50)  # the longest documents of each bin, in tokens
SIMULATIONS = 1000  # of a perfectly calibrated model, for the error that chance alone gives


def equal_width(values: Float64, bins: int) -> Int64:
    """The bin of (0, 1] that contains each value.

    >>> equal_width(np.array([0.0, 0.5, 0.51, 1.0]), 2).tolist()
    [0, 0, 1, 1]
    """
    return bin_of(values, np.arange(1, bins) / bins)


def equal_mass(values: NDArray[Any], bins: int) -> Int64:
    """The bin of each value, for bins of about the same number of values. Equal values share a bin.

    >>> equal_mass(np.array([1, 9, 2, 2]), 2).tolist()
    [0, 1, 0, 0]
    """
    edges = np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf")
    return bin_of(values, np.unique(edges))


def bin_of(values: NDArray[Any], edges: Sequence[float] | NDArray[Any]) -> Int64:
    """How many of the ascending `edges` each value exceeds."""
    bins: Int64 = np.searchsorted(np.asarray(edges), values)
    return bins


BINNINGS = {"ece_equal_width": equal_width, "ece_equal_mass": equal_mass}


def calibration_error(gaps: Float64, bins: Int64) -> float:
    """The expected calibration error from gaps `probability - correct` (N,) and bins (N,).

    The distance between the probabilities of a bin and its accuracy, averaged over the documents.

    >>> calibration_error(np.array([0.9 - 1, 0.7 - 0, 0.6 - 1]), np.array([0, 0, 1]))
    0.3333333333333333
    """
    return float(np.abs(np.bincount(bins, gaps)).sum() / len(gaps))


def most_probable(labels: Int64, probabilities: Float64) -> tuple[Float64, Bool]:
    """The highest probability of each document (N,), and whether its label is the right one."""
    return probabilities.max(1), probabilities.argmax(1) == labels


def calibration_errors(
    labels: Int64, probabilities: Mapping[str, Float64], seed: int
) -> dict[tuple[str, ...], float]:
    """The expected calibration errors of several probabilities (N, L), by name.

    `by_chance` is the error that 95 of 100 perfectly calibrated models stay below: the bootstrap is no help
    here, since the chance in each resample adds to an error that is never below 0. It is computed for the
    probabilities named `after`.
    """
    errors: dict[tuple[str, ...], float] = {}
    for name, values in probabilities.items():
        highest, correct = most_probable(labels, values)
        for kind, binning in BINNINGS.items():
            gaps = highest - correct
            errors["calibration", name, kind] = calibration_error(gaps, binning(highest, BINS))
    highest, _ = most_probable(labels, probabilities["after"])
    generator = np.random.default_rng(seed)
    perfect = [highest - (generator.random(len(highest)) < highest) for _ in range(SIMULATIONS)]
    for kind, binning in BINNINGS.items():
        bins = binning(highest, BINS)
        simulated = [calibration_error(gaps, bins) for gaps in perfect]
        errors["calibration", "by_chance", kind] = float(np.quantile(simulated, LEVEL))
    return errors


def reliability(labels: Int64, probabilities: Mapping[str, Float64]) -> Iterator[tuple[Any, ...]]:
    """(name, probability, accuracy, low, high, reviews) of bins of equal mass: a reliability diagram."""
    for name, values in probabilities.items():
        highest, correct = most_probable(labels, values)
        bins = equal_mass(highest, BINS)
        for number in np.unique(bins):
            inside = bins == number
            hits, count = int(correct[inside].sum()), int(inside.sum())
            yield name, float(highest[inside].mean()), hits / count, *wilson(hits, count), count


def confidence(labels: Int64, probabilities: Float64) -> dict[str, float]:
    """How good and how calibrated the probabilities (N, L) of some documents are.

    >>> confidence(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]))["accuracy"]
    0.5
    """
    highest, correct = most_probable(labels, probabilities)
    own = probabilities[np.arange(len(labels)), labels]
    return {
        "reviews": len(labels),
        "accuracy": float(correct.mean()),
        "mean_probability": float(highest.mean()),  # of the predicted label; calibrated: the accuracy
        "log_loss": float(-np.log(own).mean()),
        "ece": calibration_error(highest - correct, equal_mass(highest, BINS)),
    }


def by_length(labels: Int64, probabilities: Float64, lengths: Int32) -> list[dict[str, Any]]:
    """`confidence` of the documents of each length in tokens, lengths (N,), the shortest first.

    >>> rows = by_length(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([3, 70]))
    >>> [row["tokens"] for row in rows]
    ['3 to 5', 'over 50']
    """
    bins = bin_of(lengths, LENGTHS)
    lows = [0, *(edge + 1 for edge in LENGTHS)]
    names = [f"{low} to {high}" for low, high in zip(lows, LENGTHS, strict=False)] + [f"over {LENGTHS[-1]}"]
    groups = ((names[number], bins == number) for number in np.unique(bins))
    return [{"tokens": name} | confidence(labels[inside], probabilities[inside]) for name, inside in groups]


def coverage(
    labels: Int64, predicted: Int64, probabilities: Float64
) -> Iterator[tuple[float, float, float, float, float, int]]:
    """(threshold, coverage, accuracy, low, high, documents): what is gained by answering only if the
    probability of the predicted label is at least the threshold.

    Coverage is the share of documents that are answered; accuracy is that on them, with its interval.
    Thresholds are hundredths, from the highest that all documents reach to the highest that one reaches.

    >>> both = np.array([[0.1, 0.9], [0.305, 0.695]])
    >>> [row[:3] for row in coverage(np.array([1, 0]), np.array([1, 1]), both)][::20]
    [(0.69, 1.0, 0.5), (0.89, 0.5, 1.0)]
    """
    percent = np.floor(probabilities[np.arange(len(labels)), predicted] * 100 + 1e-9).astype(int)
    correct = predicted == labels
    for threshold in range(percent.min(), percent.max() + 1):
        answered = percent >= threshold
        n, right = int(answered.sum()), int(correct[answered].sum())
        yield (threshold / 100, n / len(labels), right / n, *wilson(right, n), n)

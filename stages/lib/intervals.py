"""Figures of a model on its test rows, and how sure they are.

Another draw of test reviews would give another figure. How far off it would be is told without one,
by drawing from the rows that there are: the bootstrap (Efron 1979). A share has a formula of its own,
Wilson's. Two models that were asked the same rows are compared on the same draws.

A draw is a row of weights, how often it has each of the N rows, and a block holds b draws: `# (b, N)`.
"""

from collections.abc import Callable, Iterator
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

CELLS = 1 << 17  # weights in a block: half a megabyte, which stays close to the processor
LEVEL = 0.95  # share of intervals that shall hold the true figure
RANKED = 10  # more labels than these are not ranked again on every draw: each costs a second

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]
Figures = Callable[[Counts], dict[str, Floats]]  # weights (b, N) -> name: (b,)


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """The interval of a share, `successes` of `n`, which stays between 0 and 1 and is honest near them.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".

    >>> [round(end, 3) for end in wilson(10, 10)]
    [0.722, 1.0]
    """
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, shrink = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z / shrink * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula is exact, and its sums are not.
    return Interval(
        0.0 if successes == 0 else middle - half,
        1.0 if successes == n else middle + half,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The probability that two equally good models differ so much, or more, on the rows that one of
    them alone has right: exact, two-sided (McNemar 1947; a binomial of one half).

    >>> mcnemar(1, 6)
    0.125
    """
    differing = only_first + only_second
    if differing == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), differing, 0.5)))


def resamples(n: int, count: int, seed: int) -> Iterator[Counts]:
    """`count` draws of n rows from n rows, with replacement, in blocks of weights (b, n): how often a
    draw has each row. The same for the same seed.

    >>> [weights.sum(1).tolist() for weights in resamples(3, 2, seed=1)]
    [[3, 3]]
    """
    generator = np.random.default_rng(seed)
    most = max(1, CELLS // n)
    for start in range(0, count, most):
        weights = np.empty((min(most, count - start), n), np.int32)
        for row in weights:
            row[:] = np.bincount(generator.integers(0, n, n), minlength=n)
        yield weights


def bootstrap(figures: Figures, n: int, count: int, seed: int, level: float = LEVEL) -> dict[str, Interval]:
    """The interval of each figure: between the percentiles of what it was on `count` draws of n rows.

    `figures` of weights (b, n) are (b,) numbers each. NaN stands for what a draw leaves undefined and
    is not counted; a figure that no draw defines has no interval.

    >>> bootstrap(lambda weights: {"rows": weights.sum(1).astype(float)}, 3, 9, seed=1)
    {'rows': Interval(low=3.0, high=3.0)}
    """
    found = [figures(weights) for weights in resamples(n, count, seed)]
    intervals = {}
    for name in found[0]:
        values = np.concatenate([part[name] for part in found])
        values = values[~np.isnan(values)]
        if len(values):
            low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
            intervals[name] = Interval(float(low), float(high))
    return intervals


def figures_of(truth: Ints, chances: Floats, guess: Ints, areas: bool = True) -> Figures:
    """The figures of one model as a function of weights (b, N) of the rows.

    Of labels (N,), probabilities (N, L) and predicted labels (N,). With two labels, precision,
    recall, F1 and the areas under the curves are those of the second; with more they are means over
    the labels, each against the rest, and the areas means over those that a draw has. What would be
    divided by nothing is 0; an area is NaN where a draw has no label to rank, and left out where
    `areas` is false. Of two labels the Brier score counts one, of more all.

    >>> truth, second = np.array([0, 1]), np.array([0.2, 0.9])
    >>> figures = figures_of(truth, np.stack([1 - second, second], 1), np.array([0, 1]))
    >>> figures(np.ones((1, 2), np.int32))["accuracy"]
    array([1.])
    """
    labels = chances.shape[1]
    two = labels == 2
    kept = [1] if two else list(range(labels))  # the second label stands for both
    names = np.arange(labels)
    is_label, is_guess = truth[:, None] == names, guess[:, None] == names  # (N, L)
    nothing = np.finfo(np.float64).eps
    loss = -np.log(chances[np.arange(len(truth)), truth].clip(nothing, 1 - nothing))  # (N,)
    brier = ((chances - is_label) ** 2).sum(1) / (2 if two else 1)  # (N,)
    # All but the areas are sums over the rows, and so one product.
    columns = np.column_stack([is_label, is_guess, is_label & is_guess, loss, brier]).astype(np.float64)
    rankings = [ranking(is_label[:, label], chances[:, label]) for label in kept] if areas else []

    def figures(weights: Counts) -> dict[str, Floats]:
        sums = weights.astype(np.float64) @ columns  # (b, 3L + 2)
        labelled, guessed, right = np.split(sums[:, :-2], 3, axis=1)  # (b, L)
        rows = labelled.sum(1)  # (b,)
        found = {
            "accuracy": right.sum(1) / rows,
            "precision": share(right, guessed)[:, kept].mean(1),
            "recall": share(right, labelled)[:, kept].mean(1),
            "f1": share(2 * right, labelled + guessed)[:, kept].mean(1),
            "mcc": matthews(labelled, guessed, right),
            "log_loss": sums[:, -2] / rows,
            "brier": sums[:, -1] / rows,
        }
        if rankings:
            under = np.array([rank(weights) for rank in rankings])  # (L, 2, b)
            defined = ~np.isnan(under)
            # As 0 / 0 would be, but without a warning.
            means = np.where(defined, under, 0).sum(0) / np.where(defined.any(0), defined.sum(0), np.nan)
            found |= {"roc_auc": means[0], "pr_auc": means[1]}
        return found

    return figures


def share(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """`part` / `whole`, and 0 where both are.

    >>> share(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return part / np.where(whole > 0, whole, 1)


def matthews(labelled: Floats, guessed: Floats, right: Floats) -> Floats:
    """Matthews' correlation of labels and guesses, counts (b, L) of each and of those right: (b,).

    Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    rows = labelled.sum(1)
    shared = right.sum(1) * rows - (labelled * guessed).sum(1)
    spread = np.sqrt((rows**2 - (labelled**2).sum(1)) * (rows**2 - (guessed**2).sum(1)))
    return share(shared, spread)


def ranking(positive: NDArray[np.bool_], chances: Floats) -> Callable[[Counts], tuple[Floats, Floats]]:
    """The areas under two curves as a function of weights (b, N): receiver operating characteristic,
    and precision over recall (average precision, without interpolation), (b,) each.

    Of rows that are of a label or not, (N,), and its probabilities (N,). Rows of equal probability
    are one step of both curves. NaN where a draw has only the one kind or the other.
    """
    order = np.argsort(-chances, kind="stable")
    mine, others = order[positive[order]], order[~positive[order]]  # (P,) and (N - P,)
    falls, other_falls = -chances[mine], -chances[others]  # ascending
    # For each row of the label: how many of either kind are as probable at least, and how many more so.
    mine_to, others_to = (np.searchsorted(f, falls, side="right") for f in (falls, other_falls))
    others_before = np.searchsorted(other_falls, falls, side="left")
    mine_tied = bool((mine_to != np.arange(1, len(mine) + 1)).any())
    others_tied = bool((others_before != others_to).any())

    def areas(weights: Counts) -> tuple[Floats, Floats]:
        gained = weights.take(mine, axis=1)  # (b, P)
        true = gained.cumsum(1, dtype=np.int32)
        passed = np.zeros((len(weights), len(others) + 1), np.int32)
        weights.take(others, axis=1).cumsum(1, out=passed[:, 1:])
        positives, negatives = gained.sum(1), passed[:, -1]
        false = passed.take(others_to, axis=1)  # (b, P): others that are as probable
        before = passed.take(others_before, axis=1) if others_tied else false
        if mine_tied:
            true = true.take(mine_to - 1, axis=1)
        # A pair counts one where the label's row is the more probable, half where both are equal.
        ahead = negatives * positives - np.einsum("bp,bp->b", gained, (false + before) / 2)
        precise = np.einsum("bp,bp->b", gained, share(true, true + false))
        both = np.where((positives > 0) & (negatives > 0), 1.0, np.nan)
        return share(ahead, positives * negatives) * both, share(precise, positives) * both

    return areas

"""Confidence intervals and tests: how much a metric could differ on other test documents.

The bootstrap (Efron 1979) resamples the documents with replacement: a resample is a row of weights, how
often each of the N documents was drawn. A share has a closed formula, Wilson's. Two models are compared on
the same resamples.
"""

from collections.abc import Callable, Hashable, Iterator
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import numpy as np

from stages.lib.arrays import Float64, Int32

CELLS = 1 << 17  # weights in a block: half a megabyte, which fits into the processor's cache
LEVEL = 0.95  # share of intervals that contain the true value

Name = TypeVar("Name", bound=Hashable)
Metrics = Callable[[Int32], dict[Name, Float64]]  # weights (Q, N) -> (Q,) for each name


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """The interval of a share, `successes` of `n`. It stays between 0 and 1 and is reliable near both.

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
    # At 0 and n the formula is exact, but rounding is not.
    return Interval(
        0.0 if successes == 0 else middle - half,
        1.0 if successes == n else middle + half,
    )


def paired(gained: int, lost: int, n: int, level: float = LEVEL) -> Interval:
    """The interval of the difference between two shares of the same n documents.

    `gained` documents are correct only after, `lost` only before. Wald's interval with half a document
    added to each of the four cells: Agresti and Min 2005, "Simple improved confidence intervals for
    comparing matched proportions".

    >>> [round(end, 3) for end in paired(2, 10, 100)]
    [-0.146, -0.011]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    net, changed, rows = gained - lost, gained + lost + 1, n + 2
    middle = net / rows
    half = z * sqrt(changed - net**2 / rows) / rows
    return Interval(max(-1.0, middle - half), min(1.0, middle + half))


def mcnemar(only_first: int, only_second: int) -> float:
    """The probability that two equally good models differ this much or more on the documents that only one
    of them classifies correctly: exact, two-sided (McNemar 1947; binomial with p = 1/2).

    >>> mcnemar(1, 6)
    0.125
    """
    from scipy.special import bdtr  # 0.1 s to import

    differing = only_first + only_second
    if differing == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), differing, 0.5)))


def resamples(n: int, count: int, seed: int) -> Iterator[Int32]:
    """`count` resamples of n documents in blocks of weights (Q, n). The same for the same seed.

    >>> [weights.sum(1).tolist() for weights in resamples(3, 2, seed=1)]
    [[3, 3]]
    """
    generator = np.random.default_rng(seed)
    per_block = max(1, CELLS // n)
    for start in range(0, count, per_block):
        weights = np.empty((min(per_block, count - start), n), np.int32)
        for row in weights:
            row[:] = np.bincount(generator.integers(0, n, n), minlength=n)
        yield weights


def bootstrap(
    metrics: Metrics[Name], n: int, count: int, seed: int, level: float = LEVEL
) -> dict[Name, Interval]:
    """The percentile interval of each metric over `count` resamples of n documents.

    A metric that a resample leaves undefined is NaN there and not counted; one that no resample defines has
    no interval.

    >>> bootstrap(lambda weights: {"rows": weights.sum(1).astype(float)}, 3, 9, seed=1)
    {'rows': Interval(low=3.0, high=3.0)}
    """
    blocks = [metrics(weights) for weights in resamples(n, count, seed)]
    intervals = {}
    for name in blocks[0]:
        values = np.concatenate([block[name] for block in blocks])
        values = values[~np.isnan(values)]
        if len(values):
            low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
            intervals[name] = Interval(float(low), float(high))
    return intervals

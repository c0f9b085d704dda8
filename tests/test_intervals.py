"""Intervals: Wilson, bootstrap, McNemar and paired differences, against closed forms and scipy."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.lib.arrays import Float64, Int32
from stages.lib.intervals import CELLS, bootstrap, mcnemar, paired, resamples, wilson


def test_wilson_by_hand() -> None:
    low, high = wilson(81, 263)
    z, n, p = 1.959964, 263, 81 / 263
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    assert (low, high) == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    )
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)  # Newcombe 1998, table I, method 3


@given(n=st.integers(0, 10_000), share=st.floats(0, 1), level=st.floats(0.5, 0.999))
@settings(deadline=None)
def test_wilson_equals_scipy(n: int, share: float, level: float) -> None:
    successes = round(n * share)
    low, high = wilson(successes, n, level)
    assert 0 <= low <= (successes / n if n else 0.5) <= high <= 1
    if n:
        expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(2, 8) == pytest.approx(2 * sum(comb(10, k) for k in range(3)) / 2**10)


@given(first=st.integers(0, 2000), second=st.integers(0, 2000))
@settings(deadline=None)
def test_mcnemar_equals_scipy_and_is_symmetric(first: int, second: int) -> None:
    result = mcnemar(first, second)
    assert result == mcnemar(second, first)
    if first + second:
        assert result == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-6)


def test_a_resample_has_n_documents() -> None:
    n = CELLS // 3
    blocks = list(resamples(n, 7, seed=1))
    assert [block.shape for block in blocks] == [(3, n), (3, n), (1, n)]
    assert all((block.sum(1) == n).all() and block.min() == 0 for block in blocks)
    first, second = np.concatenate(blocks)[:2]
    assert (first != second).any()


def test_resamples_depend_on_the_seed_only() -> None:
    one, again, other = (next(resamples(50, 4, seed)) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_every_document_is_drawn_equally_often() -> None:
    weights = np.concatenate(list(resamples(5, 40_000, seed=1)))
    assert weights.mean(0) == pytest.approx(np.ones(5), abs=0.03)
    assert weights.var(0) == pytest.approx(np.full(5, 1 - 1 / 5), abs=0.03)


def test_the_interval_of_a_mean_equals_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    result = bootstrap(lambda weights: {"mean": weights @ values / 2000}, 2000, 4000, seed=1)["mean"]
    half = 1.96 * values.std() / sqrt(2000)
    assert result == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)


def test_undefined_resamples_are_ignored_and_a_metric_without_any_has_no_interval() -> None:
    def metrics(weights: Int32) -> dict[str, Float64]:
        nothing = np.full(len(weights), np.nan)
        return {"never": nothing, "sometimes": np.where(weights[:, 0] > 0, 0.5, nothing)}

    assert bootstrap(metrics, 4, 100, seed=1) == {"sometimes": (0.5, 0.5)}


def test_the_paired_interval_is_symmetric_and_covers_the_difference() -> None:
    low, high = paired(12, 30, 200)
    assert low < (12 - 30) / 200 < high < 0
    assert paired(30, 12, 200) == pytest.approx((-high, -low))
    assert paired(0, 0, 50) == pytest.approx((-paired(0, 0, 50).high, paired(0, 0, 50).high))
    assert paired(3, 0, 3).high == 1.0


def test_the_paired_interval_by_hand() -> None:
    # 8 of 100 rows net, 12 of them changed, half a row more in each cell: (8, 13, 102).
    half = 1.959964 * (13 - 8**2 / 102) ** 0.5 / 102
    assert paired(2, 10, 100) == pytest.approx((-8 / 102 - half, -8 / 102 + half))
    assert paired(0, 0, 1)[1] <= 1


def test_the_paired_interval_agrees_with_resampling() -> None:
    rows = np.repeat([1, -1, 0], [40, 70, 390])
    draws = np.random.default_rng(1).choice(rows, (4000, 500)).mean(1)
    assert paired(40, 70, 500) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.004)

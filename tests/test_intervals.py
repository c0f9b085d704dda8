"""Intervals: shares, draws and figures of weighted rows, beside closed forms and scikit-learn."""

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from stages.lib.intervals import (
    CELLS,
    Counts,
    Floats,
    Ints,
    bootstrap,
    figures_of,
    mcnemar,
    ranking,
    resamples,
    wilson,
)

ROWS = st.integers(2, 4).flatmap(
    lambda labels: st.lists(
        st.tuples(
            st.integers(0, labels - 1),  # the label
            st.lists(st.integers(1, 6), min_size=labels, max_size=labels),  # of few values: many ties
            st.integers(0, 3),  # the weight
        ),
        min_size=1,
        max_size=30,
    )
)


def arrays(rows: list[tuple[int, list[int], int]]) -> tuple[Ints, Floats, Ints, Counts]:
    """Labels, probabilities, guesses and weights (1, N) of drawn rows, not all weights 0."""
    chances = np.array([row[1] for row in rows], float)
    chances /= chances.sum(1, keepdims=True)
    weights = np.array([[row[2] for row in rows]], np.int32)
    weights[0, 0] += 1
    return np.array([row[0] for row in rows]), chances, chances.argmax(1), weights


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
def test_wilson_is_scipys(n: int, share: float, level: float) -> None:
    successes = round(n * share)
    low, high = wilson(successes, n, level)
    assert 0 <= low <= (successes / n if n else 0.5) <= high <= 1
    if n:
        wanted = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
        assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(2, 8) == pytest.approx(2 * sum(comb(10, k) for k in range(3)) / 2**10)


@given(first=st.integers(0, 2000), second=st.integers(0, 2000))
@settings(deadline=None)
def test_mcnemar_is_scipys_and_knows_no_first(first: int, second: int) -> None:
    found = mcnemar(first, second)
    assert found == mcnemar(second, first)
    if first + second:
        assert found == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-6)


def test_a_draw_has_as_many_rows_as_there_are() -> None:
    n = CELLS // 3
    blocks = list(resamples(n, 7, seed=1))
    assert [block.shape for block in blocks] == [(3, n), (3, n), (1, n)]
    assert all((block.sum(1) == n).all() and block.min() == 0 for block in blocks)
    first, second = np.concatenate(blocks)[:2]
    assert (first != second).any()


def test_draws_are_those_of_their_seed() -> None:
    one, again, other = (next(resamples(50, 4, seed)) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_every_row_is_drawn_as_often_as_the_others() -> None:
    weights = np.concatenate(list(resamples(5, 40_000, seed=1)))
    assert weights.mean(0) == pytest.approx(np.ones(5), abs=0.03)
    assert weights.var(0) == pytest.approx(np.full(5, 1 - 1 / 5), abs=0.03)


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    found = bootstrap(lambda weights: {"mean": weights @ values / 2000}, 2000, 4000, seed=1)["mean"]
    half = 1.96 * values.std() / sqrt(2000)
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 10)


def test_what_no_draw_defines_has_no_interval_and_what_few_leave_open_has() -> None:
    def figures(weights: Counts) -> dict[str, Floats]:
        nothing = np.full(len(weights), np.nan)
        return {"never": nothing, "sometimes": np.where(weights[:, 0] > 0, 0.5, nothing)}

    assert bootstrap(figures, 4, 100, seed=1) == {"sometimes": (0.5, 0.5)}


@given(rows=ROWS)
@settings(deadline=None, max_examples=200)
@pytest.mark.filterwarnings("ignore")  # scikit-learn's, of labels that do not occur
def test_the_figures_of_weighted_rows_are_scikit_learns(rows: list[tuple[int, list[int], int]]) -> None:
    truth, chances, guess, weights = arrays(rows)
    found = {name: value[0] for name, value in figures_of(truth, chances, guess)(weights).items()}
    labels, drawn = np.arange(chances.shape[1]), weights[0]
    kept = slice(1, 2) if len(labels) == 2 else slice(None)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, guess, labels=labels, sample_weight=drawn, zero_division=0.0
    )
    one_hot = truth[:, None] == labels
    off = ((chances - one_hot) ** 2).sum(1) / (2 if len(labels) == 2 else 1)
    wanted = {
        "accuracy": sk.accuracy_score(truth, guess, sample_weight=drawn),
        "precision": precision[kept].mean(),
        "recall": recall[kept].mean(),
        "f1": f1[kept].mean(),
        "mcc": sk.matthews_corrcoef(truth, guess, sample_weight=drawn),
        "log_loss": sk.log_loss(truth, chances, labels=labels, sample_weight=drawn),
        "brier": np.average(off, weights=drawn),
        "roc_auc": np.nan,
        "pr_auc": np.nan,
    }
    ranked = [
        (sk.roc_auc_score(mine, chance, sample_weight=drawn),
         sk.average_precision_score(mine, chance, sample_weight=drawn))
        for mine, chance in zip(one_hot.T[kept], chances.T[kept], strict=True)
        if len(np.unique(mine[drawn > 0])) == 2
    ]  # fmt: skip
    if ranked:
        wanted["roc_auc"], wanted["pr_auc"] = np.mean(ranked, axis=0)
    assert found == pytest.approx(wanted, nan_ok=True, abs=1e-9)


@given(rows=ROWS)
@settings(deadline=None)
def test_a_weight_of_two_is_the_row_twice(rows: list[tuple[int, list[int], int]]) -> None:
    truth, chances, guess, weights = arrays(rows)
    many = np.repeat(np.arange(len(truth)), weights[0])
    plain = figures_of(truth[many], chances[many], guess[many])(np.ones((1, len(many)), np.int32))
    drawn = figures_of(truth, chances, guess)(weights)
    for name, value in drawn.items():
        assert value == pytest.approx(plain[name], nan_ok=True, abs=1e-9)


def test_areas_by_hand_with_a_tie() -> None:
    positive = np.array([True, False, True, False])
    areas = ranking(positive, np.array([0.9, 0.5, 0.5, 0.1]))
    roc, precision = areas(np.array([[1, 1, 1, 1], [0, 2, 1, 0], [1, 0, 1, 0]], np.int32))
    assert roc[:2].tolist() == [(1 + 1 + 0.5 + 1) / 4, 0.5]
    assert precision[:2] == pytest.approx([(1 + 2 / 3) / 2, 1 / 3])
    assert np.isnan([roc[2], precision[2]]).all()


def test_many_draws_are_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.ones(3), 60).round(2)
    figures = figures_of(rng.integers(0, 3, 60), chances, chances.argmax(1))
    weights = next(resamples(60, 8, seed=1))
    one_by_one = [figures(row[None]) for row in weights]
    for name, values in figures(weights).items():
        assert values == pytest.approx([one[name][0] for one in one_by_one])


def test_areas_are_left_out_when_not_asked_for() -> None:
    chances = np.array([[0.2, 0.8], [0.6, 0.4]])
    found = figures_of(np.array([1, 0]), chances, np.array([1, 0]), areas=False)
    assert not {"roc_auc", "pr_auc"} & set(found(np.ones((1, 2), np.int32)))

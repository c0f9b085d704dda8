"""Calibration: bins, expected calibration errors and the reliability table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.calibration import (
    calibration_error,
    calibration_errors,
    coverage,
    equal_mass,
    equal_width,
    reliability,
)
from stages.lib.intervals import wilson
from tests.test_scores import LABELS, PROBABILITIES


@given(values=st.lists(st.integers(0, 9), min_size=1, max_size=40), parts=st.integers(1, 6))
@settings(deadline=None)
def test_bins_of_equal_mass_keep_equal_values_in_one_bin_and_in_order(values: list[int], parts: int) -> None:
    number = dict(zip(values, equal_mass(np.array(values), parts).tolist(), strict=True))
    assert [number[v] for v in values] == equal_mass(np.array(values), parts).tolist()
    assert [number[v] for v in sorted(number)] == sorted(number.values())
    assert set(number.values()) <= set(range(parts))


def test_bins_of_equal_mass_have_equal_counts() -> None:
    values = np.random.default_rng(1).permutation(100)
    assert np.bincount(equal_mass(values, 10)).tolist() == [10] * 10


@given(rows=st.lists(st.tuples(st.floats(0.5, 1), st.booleans()), min_size=1, max_size=40))
@settings(deadline=None)
def test_the_calibration_error_equals_its_definition(rows: list[tuple[float, bool]]) -> None:
    highest, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    result = calibration_error(highest - right, equal_width(highest, 15))
    error = 0.0
    for m in range(1, 16):  # Guo et al. 2017, equation 3
        inside = (highest > (m - 1) / 15) & (highest <= m / 15)
        if inside.any():
            error += inside.sum() / len(rows) * abs(right[inside].mean() - highest[inside].mean())
    assert result == pytest.approx(error)


def test_only_an_overconfident_model_has_a_larger_error_than_by_chance() -> None:
    draw = np.random.default_rng(1)
    second = draw.uniform(0.05, 0.95, 4000)
    labels = (draw.random(4000) < second).astype(np.int64)
    overconfident = 1 / (1 + (1 / second - 1) ** 3)
    probabilities = {
        "before": np.stack([1 - overconfident, overconfident], 1),
        "after": np.stack([1 - second, second], 1),
    }
    result = calibration_errors(labels, probabilities, seed=1)
    for kind in ("ece_equal_width", "ece_equal_mass"):
        before, after, by_chance = (result["calibration", n, kind] for n in ("before", "after", "by_chance"))
        assert after < by_chance < before
        assert before > 0.1


def test_the_reliability_table_counts_every_row_once() -> None:
    rows = list(reliability(LABELS, {"after": PROBABILITIES}))
    assert sum(row[-1] for row in rows) == len(LABELS)
    assert [row[1] for row in rows] == pytest.approx([0.6, 0.7, 0.8, 0.9])  # 0.6 and 0.9 twice
    assert [row[2] for row in rows] == [0.5, 0.0, 1.0, 1.0]
    assert all(row[3] <= row[2] <= row[4] for row in rows)


def test_coverage_is_the_share_of_texts_at_or_above_a_threshold() -> None:
    second = np.array([0.9, 0.2, 0.7, 0.5])
    predicted, probabilities = (second >= 0.5).astype(int), np.stack([1 - second, second], 1)
    at = {threshold: row for threshold, *row in coverage(np.ones(4, int), predicted, probabilities)}
    assert (min(at), max(at)) == (0.5, 0.9)
    assert at[0.5][:2] == [1.0, 0.75]  # 0.2 is predicted as the first label, with 0.8
    assert at[0.7][:2] == [0.75, 2 / 3]
    assert at[0.71][:2] == [0.5, 0.5]
    assert at[0.9] == [0.25, 1.0, *wilson(1, 1), 1]

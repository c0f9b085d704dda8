"""The space of words as small integers."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.neighbours import unit_rows
from stages.lib.page.pack import unpack_strings
from stages.lib.page.space import SHOWN, Space, by_column, by_row, shortened, top_directions


def space(words: list[str], **choices: object) -> Space:
    rows = len(words)
    generator = np.random.default_rng(0)
    parts = {
        "count": np.arange(rows, 0, -1).astype(np.uint32), "vectors": generator.normal(size=(rows, 6)),
        "coords": generator.normal(size=(rows, 3)), "explained": np.array([0.4, 0.2, 0.1]),
        "weights": generator.normal(size=(rows, 1)), "cluster": np.zeros(rows, np.int64), "clusters": ["all"],
        "labels": ["no", "yes"],
    }  # fmt: skip
    return Space(words, **(parts | choices))


def test_values_are_those_of_the_integers_and_scales() -> None:
    original = space(["a", "b", "c"])
    arrays = original.arrays({"corpus": "x", "overlap": None})
    types = {name: array.dtype.name for name, array in arrays.items()}
    assert types["vectors"] == "int8"
    assert types["coords"] == types["weights"] == "int16"
    assert types["cluster"] == "uint8"
    np.testing.assert_allclose(arrays["vectors"] * arrays["scale"][:, None], original.vectors, atol=0.02)
    np.testing.assert_allclose(arrays["coords"] * arrays["coords_scale"], original.coords, atol=1e-4)
    np.testing.assert_allclose(arrays["weights"] * arrays["weights_scale"], original.weights, atol=1e-4)
    assert arrays["explained"].tolist() == pytest.approx([0.4, 0.2, 0.1])
    assert unpack_strings(arrays, "labels") == ["no", "yes"]
    assert json.loads(unpack_strings(arrays, "facts")[0]) == {"corpus": "x", "overlap": None}


@given(st.integers(0, 99), st.floats(-44, 37))
@settings(deadline=None)
def test_integers_are_within_half_a_step_at_every_magnitude(seed: int, power: float) -> None:
    values = (np.random.default_rng(seed).normal(size=(4, 5)) * 10**power / 4).astype(np.float32)
    for integers, scale, largest in ((*by_row(values), 127), (*by_column(values), 32767)):
        assert np.abs(integers.astype(int)).max() <= largest
        scale = scale[:, None] if len(scale) == 4 else scale
        if scale.min() > 1e-37:  # below, float32 has not all of its digits
            assert (np.abs(integers * scale.astype(float) - values) <= 0.51 * scale).all()


def test_rows_and_columns_of_zeros_stay_zeros() -> None:
    integers, scale = by_row(np.array([[0, 0], [2, -1]], np.float32))
    assert integers.tolist() == [[0, 0], [127, -64]]
    assert scale.tolist() == [0, pytest.approx(2 / 127)]
    integers, scale = by_column(np.array([[0, 4.0], [0, -4.0]]))
    assert integers.tolist() == [[0, 32767], [0, -32767]]
    assert (by_row(np.zeros((0, 3)))[0].shape, by_column(np.zeros((0, 3)))[0].shape) == ((0, 3), (0, 3))


def test_fewer_dimensions_keep_the_cosines_best() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(60, 8)) * [9, 5, 4, 3, 1, 1, 0.5, 0.1]
    unit = unit_rows(vectors).astype(np.float64)
    left, values, _ = np.linalg.svd(unit, full_matrices=False)
    for dims in (1, 3, 8):
        result = top_directions(vectors, dims)
        assert result.shape == (60, dims)
        expected = unit @ unit.T - (left[:, dims:] * values[dims:] ** 2) @ left[:, dims:].T
        lengths = np.linalg.norm(vectors, axis=1)
        np.testing.assert_allclose(result @ result.T / np.outer(lengths, lengths), expected, atol=1e-5)


def test_all_dimensions_keep_every_distance() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    result = top_directions(vectors, 5)
    np.testing.assert_allclose(result @ result.T, vectors @ vectors.T, atol=1e-5)


def test_vectors_of_zeros_have_no_direction_and_no_nan() -> None:
    assert top_directions(np.zeros((3, 4)), 2).tolist() == [[0, 0]] * 3


def test_negated_axes_do_not_change_the_sign() -> None:
    vectors = np.abs(np.random.default_rng(0).normal(size=(20, 5)))
    assert (top_directions(vectors, 1) > 0).all()


def test_long_words_and_labels_are_cut() -> None:
    words = ["x" * 1_000_000, "👩" * (SHOWN + 1), "y" * SHOWN, "a\0b", "\u202ec"]
    arrays = space(words, labels=["l" * 1000, "m"]).arrays({})
    shown = unpack_strings(arrays, "words")
    assert shown == ["x" * SHOWN + "…", "👩" * SHOWN + "…", *words[2:]]
    assert unpack_strings(arrays, "labels") == ["l" * SHOWN + "…", "m"]
    assert shortened("", 3) == ""

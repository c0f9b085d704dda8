"""Nearest neighbours, and how well another form of the vectors keeps them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness as peer

from stages.lib import neighbours
from stages.lib.neighbours import evenly_spaced, nearest, overlap, trustworthiness, unit_rows


@given(st.integers(0, 99), st.integers(2, 30))
@settings(deadline=None, max_examples=40)
def test_the_nearest_are_those_of_a_sorted_table_of_cosines(seed: int, rows: int) -> None:
    vectors = np.random.default_rng(seed).integers(-2, 3, (rows, 3)).astype(np.float32)
    unit = unit_rows(vectors)
    count = min(4, rows - 1)
    for query, result in enumerate(nearest(vectors, np.arange(rows), count)):
        cosines = unit @ unit[query]
        others = np.sort(np.delete(cosines, query))[::-1]
        assert query not in result
        assert len(set(result.tolist())) == count
        np.testing.assert_allclose(cosines[result], others[:count], atol=1e-6)


def test_of_equally_near_rows_the_first_is_nearer() -> None:
    assert nearest(np.ones((9, 2)), np.array([4, 0]), 3).tolist() == [[0, 1, 2], [1, 2, 3]]


def test_queries_are_answered_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(25, 4))
    expected = nearest(vectors, np.arange(25), 3)
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    np.testing.assert_array_equal(nearest(vectors, np.arange(25), 3), expected)


def test_the_length_of_a_vector_does_not_matter() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 4))
    assert overlap(vectors, vectors * np.arange(1, 51)[:, None]) == 1


def test_overlap_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NEIGHBOURS", 1)
    angles = np.radians([0, 10, 30, 60])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    others = vectors[[0, 2, 1, 3]]  # the second and third are exchanged
    # neighbours: 1, 0, 1, 2 and 2, 2, 0, 1
    assert overlap(vectors, others) == 0
    assert overlap(vectors, vectors[[0, 1, 3, 2]]) == 0.5  # 1, 0, 3, 1


def test_independent_vectors_have_no_more_neighbours_in_common_than_chance() -> None:
    generator = np.random.default_rng(0)
    result = overlap(generator.normal(size=(500, 20)), generator.normal(size=(500, 20)))
    assert result == pytest.approx(10 / 499, abs=0.01)


@pytest.mark.parametrize("rows", [0, 1])
def test_without_neighbours_there_is_no_overlap(rows: int) -> None:
    assert overlap(np.ones((rows, 3)), np.ones((rows, 3))) is None


def test_two_words_have_their_neighbours_in_common_and_zeros_are_no_error() -> None:
    assert overlap(np.eye(2), np.eye(2)[::-1]) == 1
    assert overlap(np.zeros((5, 2)), np.zeros((5, 2))) == 1


@given(st.integers(0, 99), st.integers(12, 60), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_trustworthiness_is_that_of_scikit_learn(seed: int, rows: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    vectors, points = generator.normal(size=(rows, 6)), generator.normal(size=(rows, 2))
    points += vectors[:, :2]
    assert trustworthiness(vectors, points, count) == pytest.approx(peer(vectors, points, n_neighbors=count))


def test_trustworthiness_is_1_for_the_vectors_themselves_and_half_for_noise() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(400, 8))
    assert trustworthiness(vectors, vectors) == 1
    assert trustworthiness(vectors, 3 * vectors + 1) == 1
    assert trustworthiness(vectors, generator.normal(size=(400, 2))) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("rows", "value"), [(0, None), (1, None), (2, None), (3, 1), (4, 1), (5, 1), (20, 1)]
)
def test_a_small_number_of_points_has_a_smaller_number_of_neighbours(rows: int, value: float | None) -> None:
    vectors = np.random.default_rng(0).normal(size=(rows, 3))
    assert trustworthiness(vectors, vectors) == value


def test_evenly_spaced_rows_are_distinct_and_start_with_the_first() -> None:
    for rows in (1, 2, 999, 1000, 1001, 200_000):
        result = evenly_spaced(rows, 1000).tolist()
        assert result == sorted(set(result))
        assert (result[0], len(result)) == (0, min(rows, 1000))
        assert result[-1] < rows
    assert evenly_spaced(200_000, 1000).tolist() == list(range(0, 200_000, 200))


def test_huge_and_tiny_vectors_become_units_and_zeros_stay() -> None:
    vectors = np.array([[3e38, 3e38], [1e-44, 0], [0, 0], [-2, 0]], np.float32)
    half = 0.5**0.5
    np.testing.assert_allclose(unit_rows(vectors), [[half, half], [1, 0], [0, 0], [-1, 0]], atol=1e-6)

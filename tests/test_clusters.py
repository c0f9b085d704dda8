"""k-means without chance."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from stages.lib.clusters import central, cluster_means, initial_clusters, means_of, nearest_mean, spread
from tests.conftest import ROOT


def groups(number: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around some far centres, and the number of each vector's centre."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(number), each)
    order = generator.permutation(len(truth))
    centres = 20 * np.eye(number, 8)
    return (centres[truth] + generator.normal(size=(len(truth), 8)))[order], truth[order]


@pytest.mark.parametrize("number", [2, 3, 8])
def test_separate_groups_are_recovered(number: int) -> None:
    vectors, truth = groups(number, 30)
    means = cluster_means(vectors, number)
    assert adjusted_rand_score(truth, nearest_mean(vectors, means)) == 1


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_the_squared_distances_are_about_as_small_as_those_of_scikit_learn(seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(200, 3))
    means = cluster_means(vectors, 5)
    own = ((vectors - means[nearest_mean(vectors, means)]) ** 2).sum()
    assert own <= 1.25 * KMeans(5, n_init=10, random_state=0).fit(vectors).inertia_


def test_iterations_improve_the_first_division() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 4))
    first = initial_clusters(vectors, 6)
    before = sum(spread(vectors[first == n]) for n in range(6))
    means = cluster_means(vectors, 6)
    assert ((vectors - means[nearest_mean(vectors, means)]) ** 2).sum() < before


def test_the_means_are_those_of_the_vectors_that_are_nearest_to_them() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 4))
    means = cluster_means(vectors, 6)
    np.testing.assert_allclose(means_of(vectors, nearest_mean(vectors, means)), means, atol=1e-12)


def test_the_widest_set_is_divided_first() -> None:
    assert initial_clusters(np.array([[0.0], [1], [2], [30], [50], [90]]), 3).tolist() == [0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("count", [1, 3, 255])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_there_are_at_most_as_many_clusters_as_distinct_vectors(rows: int, count: int) -> None:
    distinct = np.random.default_rng(0).normal(size=(rows, 4))
    vectors = np.concatenate([distinct, distinct, distinct])
    means = cluster_means(vectors, count)
    assert len(means) == min(rows, count)
    assert set(nearest_mean(vectors, means).tolist()) == set(range(len(means)))


@pytest.mark.parametrize("value", [0, 0.1, 1e30])
def test_equal_vectors_are_one_cluster(value: float) -> None:
    means = cluster_means(np.full((7, 3), value, np.float32), 4)
    assert nearest_mean(np.full((7, 3), value, np.float32), means).tolist() == [0] * 7


def test_every_process_makes_the_same_bits() -> None:
    code = (
        "import stages, numpy as np; from stages.lib.clusters import cluster_means;"
        "vectors = np.random.default_rng(0).normal(size=(500, 20));"
        "print(cluster_means(vectors, 9).tobytes().hex())"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(results) == 1


def test_the_central_vectors_are_the_nearest_to_the_mean() -> None:
    vectors = np.array([[0, 0], [3, 0], [1, 0], [1, 0]], np.float32)
    assert central(vectors, np.array([1.0, 0]), 3) == [2, 3, 0]
    assert central(vectors, np.array([1.0, 0]), 9) == [2, 3, 0, 1]

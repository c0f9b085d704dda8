"""k-means without chance: the same vectors give the same clusters.

The usual start is random. Here the set with the largest sum of squared distances from its mean is divided in
two along its principal component, until there are enough (Su and Dy 2004, "A Deterministic Method for
Initializing K-means Clustering"). Lloyd's iterations then move vectors to the nearest mean.
"""

from typing import Any

import numpy as np

from stages.lib.arrays import Float32, Float64, Int64

ROUNDS = 30  # of Lloyd's algorithm, at most
CHUNK = 1 << 16  # vectors whose distances from the means are in memory at once


def cluster_means(vectors: Any, count: int) -> Float64:
    """The means of at most `count` clusters of vectors (V, D): (K, D), K >= 1.

    There are fewer if there are fewer distinct vectors.

    >>> cluster_means(np.array([[0.0], [1], [10], [11], [12]]), 2).tolist()
    [[0.5], [11.0]]
    """
    vectors = np.asarray(vectors, np.float64)
    members = initial_clusters(vectors, count)
    means = means_of(vectors, members)
    for _ in range(ROUNDS):
        moved = nearest_mean(vectors, means)
        if np.array_equal(moved, members):
            break
        members = moved
        means = means_of(vectors, members)
    return means


def initial_clusters(vectors: Float64, count: int) -> Int64:
    """The cluster (V,) of each vector after up to `count` - 1 divisions."""
    members = np.zeros(len(vectors), np.int64)
    spreads = [spread(vectors)]
    while len(spreads) < count and max(spreads) > 0:
        widest = int(np.argmax(spreads))
        rows = np.flatnonzero(members == widest)
        part = vectors[rows] - vectors[rows].mean(0)
        axis = np.linalg.eigh(part.T @ part)[1][:, -1]
        axis *= np.sign(axis[np.abs(axis).argmax()])
        above = rows[part @ axis > 0]
        if not 0 < len(above) < len(rows):  # equal but for rounding
            spreads[widest] = 0.0
            continue
        members[above] = len(spreads)
        spreads[widest] = spread(vectors[members == widest])
        spreads.append(spread(vectors[above]))
    return members


def spread(vectors: Float64) -> float:
    """The sum of squared distances from the mean."""
    return float(((vectors - vectors.mean(0)) ** 2).sum())


def means_of(vectors: Float64, members: Int64) -> Float64:
    """The mean of each cluster that has vectors: (K, D)."""
    return np.stack([vectors[members == number].mean(0) for number in np.unique(members)])


def nearest_mean(vectors: Any, means: Float64) -> Int64:
    """The number (V,) of the mean that is nearest to each vector; of equally near ones, the first."""
    half = (means**2).sum(1) / 2
    parts = [
        (np.asarray(vectors[start : start + CHUNK], np.float64) @ means.T - half).argmax(1)
        for start in range(0, len(vectors), CHUNK)
    ]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def central(vectors: Float32, mean: Float64, count: int) -> list[int]:
    """The rows of the `count` vectors that are nearest to the mean, the nearest first."""
    far = ((vectors - mean) ** 2).sum(1)
    rows: list[int] = np.argsort(far, kind="stable")[:count].tolist()
    return rows

"""Nearest neighbours, and how well another form of the vectors keeps them.

overlap            share of the nearest neighbours that two forms of the vectors have in common
trustworthiness    whether the neighbours in a picture are neighbours in the space (Venna and Kaski 2001,
                   "Neighborhood Preservation in Nonlinear Projection Methods")
"""

from typing import Any

import numpy as np

from stages.lib.arrays import Float32, Int64

NEIGHBOURS = 10
SAMPLE = 1_000  # words that are measured, evenly spaced from the most to the least frequent
CHUNK = 100  # queries whose similarities are in memory at once: 80 MB for 200,000 words


def unit_rows(vectors: Any) -> Float32:
    """Vectors (V, D) with length 1. A vector of zeros stays as it is.

    >>> unit_rows(np.array([[3, 4], [0, 0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.sqrt((np.asarray(vectors, np.float64) ** 2).sum(1, keepdims=True))
    result: Float32 = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return result


def evenly_spaced(rows: int, count: int) -> Int64:
    """At most `count` row numbers below `rows`.

    >>> evenly_spaced(10, 4).tolist(), evenly_spaced(2, 4).tolist()
    ([0, 2, 5, 7], [0, 1])
    """
    count = min(rows, count)
    return np.arange(count, dtype=np.int64) * rows // max(count, 1)


def nearest(vectors: Any, queries: Int64, count: int) -> Int64:
    """The `count` rows of vectors (V, D) with the highest cosine similarity to each query row: (Q, count).

    The most similar is first; of equal ones, the first row. A row is not its own neighbour.

    >>> nearest(np.array([[1, 0], [2, 1], [-1, 0], [1, 1]]), np.array([0]), 2).tolist()
    [[1, 3]]
    """
    unit = unit_rows(vectors)
    result = np.empty((len(queries), count), np.int64)
    for start in range(0, len(queries), CHUNK):
        part = queries[start : start + CHUNK]
        cosines = unit[part] @ unit.T  # (B, V)
        cosines[np.arange(len(part)), part] = -np.inf
        bounds = np.partition(cosines, -count, axis=1)[:, -count]
        for row, (values, bound) in enumerate(zip(cosines, bounds, strict=True), start):
            candidates = np.flatnonzero(values >= bound)
            result[row] = candidates[np.argsort(-values[candidates], kind="stable")[:count]]
    return result


def overlap(vectors: Any, others: Any) -> float | None:
    """Share of the NEIGHBOURS nearest neighbours by cosine that two forms of V vectors have in common.

    Measured on SAMPLE words. None if there are no neighbours.
    """
    count = min(NEIGHBOURS, len(vectors) - 1)
    if count < 1:
        return None
    queries = evenly_spaced(len(vectors), SAMPLE)
    pairs = zip(nearest(vectors, queries, count), nearest(others, queries, count), strict=True)
    return float(np.mean([len(np.intersect1d(one, other)) / count for one, other in pairs]))


def trustworthiness(vectors: Any, points: Any, count: int = NEIGHBOURS) -> float | None:
    """1 if the `count` nearest neighbours of each of the N points (N, C) are also those of its vector (N, D).

    A point that is a neighbour in the picture alone costs its rank among the neighbours of the vector, beyond
    `count`. The sum is scaled so that 0 is the worst; about 0.5 is chance. Distances are Euclidean. With few
    points `count` is lower. None if there are fewer than 3.
    """
    rows = len(vectors)
    count = min(count, (rows - 1) // 2)
    if count < 1:
        return None
    order = np.argsort(distances(vectors), axis=1, kind="stable")  # (N, N), the nearest first
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, rows + 1)[None, :], axis=1)
    shown = np.argsort(distances(points), axis=1, kind="stable")[:, :count]
    excess = np.take_along_axis(ranks, shown, axis=1) - count
    return 1 - 2 * float(excess[excess > 0].sum()) / (rows * count * (2 * rows - 3 * count - 1))


def distances(vectors: Any) -> Any:
    """Squared Euclidean distances (N, N); of a vector from itself, infinity."""
    vectors = np.asarray(vectors, np.float64)
    squares = (vectors**2).sum(1)
    result = squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T
    np.fill_diagonal(result, np.inf)
    return result

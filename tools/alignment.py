"""Aligns the word vectors of several runs, and measures how far each word moved between them.

Two runs give the same word different vectors even if nothing but the seed differs, because word2vec's loss
does not change if all vectors are rotated. So the spaces are first rotated onto each other, by orthogonal
Procrustes (Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem") on the unit
vectors of the words that all runs have. Each word then counts the same, and what is minimised is what is
measured. Hamilton et al. 2016, "Diachronic word embeddings reveal statistical laws of semantic change",
measure words in the same way.

    distance    cosine distance of the word's two vectors after the rotation: 0 (same direction) to 2
    kept        Jaccard index of its 10 nearest neighbours by cosine in the two spaces: 1 (the same) to 0

Vectors of fewer dimensions are padded with zeros. A rotation cannot bring back the dimensions that are
missing, which can make distances larger; the neighbours are not affected.

S is the number of words that all runs have.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from stages.lib.arrays import Bool, Float64, Int64
from stages.lib.neighbours import NEIGHBOURS, nearest, unit_rows

Pair = tuple[int, int]  # the numbers of two runs


class Moves(NamedTuple):
    """How far S words moved between two sides, each of one or more runs that differ in their seeds."""

    distance: Float64  # (S,) mean over all pairs of a run of A and a run of B
    low: Float64  # (S,) the smallest of these pairs' distances
    high: Float64  # (S,) the largest
    kept: Float64  # (S,) mean over the same pairs
    seeds: Float64 | None  # (S,) mean distance over the pairs of runs of one side; None if there are none
    seeds_high: Float64 | None  # (S,) the largest of them

    @property
    def exceeds(self) -> Bool | None:
        """Whether every distance between the sides is larger than every distance within one, (S,)."""
        return None if self.seeds_high is None else self.low > self.seeds_high


def rotation(a: Any, b: Any) -> Float64:
    """The orthogonal matrix (D, D) for which b @ matrix is closest to a, both (S, D).

    >>> rotation(np.array([[1.0, 0], [0, 2]]), np.array([[0.0, 1], [-2, 0]])).round(9).tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    left, _, right = np.linalg.svd(np.asarray(b, np.float64).T @ np.asarray(a, np.float64))
    matrix: Float64 = left @ right
    return matrix


def padded(vectors: Any, dims: int) -> Float64:
    """Vectors (S, D) with zeros up to `dims` dimensions.

    >>> padded(np.array([[1.0]]), 3).tolist()
    [[1.0, 0.0, 0.0]]
    """
    return np.pad(np.asarray(vectors, np.float64), ((0, 0), (0, dims - vectors.shape[1])))


def distances(a: Any, b: Any) -> Float64:
    """Cosine distances (S,) of unit vectors a and b (S, D) after the rotation of b onto a."""
    cosines = (a * (b @ rotation(a, b))).sum(1)
    result: Float64 = np.clip(1 - cosines, 0, 2)
    return result


def jaccard(a: Int64, b: Int64) -> Float64:
    """The Jaccard index of the sets in each row of a and b (S, K).

    >>> jaccard(np.array([[1, 2, 3]]), np.array([[3, 4, 1]])).tolist()
    [0.5]
    """
    common = (a[:, :, None] == b[:, None, :]).any(2).sum(1)
    result: Float64 = common / (a.shape[1] + b.shape[1] - common)
    return result


def between(first: int, second: int) -> list[Pair]:
    """All pairs of one of `first` runs and one of the `second` runs that follow.

    >>> between(2, 1)
    [(0, 2), (1, 2)]
    """
    return [(one, other) for one in range(first) for other in range(first, first + second)]


def moves(spaces: Sequence[Any], first: int) -> tuple[Moves, list[int]]:
    """How far S words moved, given their vectors (S, D) in each run; the `first` runs are those of side A.

    The second result is how many words `exceeds` would name if the same runs were put on the two sides in
    another way, for each such way: what chance does. It is empty if there is no other way.
    """
    dims = max(vectors.shape[1] for vectors in spaces)
    units = [unit_rows(padded(vectors, dims)).astype(np.float64) for vectors in spaces]
    words = np.arange(len(units[0]))
    neighbours = [nearest(unit, words, min(NEIGHBOURS, len(words) - 1)) for unit in units]
    far = {(i, j): distances(units[i], units[j]) for i, j in combinations(range(len(units)), 2)}
    across = between(first, len(units) - first)
    of_pairs = np.stack([far[pair] for pair in across])
    seeds = [far[pair] for pair in far if pair not in across]
    result = Moves(
        of_pairs.mean(0),
        of_pairs.min(0),
        of_pairs.max(0),
        np.mean([jaccard(neighbours[i], neighbours[j]) for i, j in across], axis=0),
        np.mean(seeds, axis=0) if seeds else None,
        np.max(seeds, axis=0) if seeds else None,
    )
    return result, [exceeding(far, side) for side in other_sides(len(units), first)] if seeds else []


def other_sides(runs: int, first: int) -> Iterable[set[int]]:
    """The other sets of `first` runs that could be side A; if half of the runs, one of each set and its rest.

    >>> list(other_sides(4, 2))
    [{0, 2}, {0, 3}]
    """
    own = set(range(first))
    for side in map(set, combinations(range(runs), first)):
        if side != own and (0 in side or 2 * first != runs):
            yield side


def exceeding(far: dict[Pair, Float64], side: set[int]) -> int:
    """How many words are farther apart in every pair across the sides than in every pair within one."""
    across = [values for (i, j), values in far.items() if (i in side) != (j in side)]
    within = [values for (i, j), values in far.items() if (i in side) == (j in side)]
    return int((np.min(across, axis=0) > np.max(within, axis=0)).sum())


def on_axes(vectors: Any, coords: Any, others: Any) -> Float64:
    """Where vectors `others` (S, D) are on the axes of a picture that places vectors (V, D) at coords (V, C).

    Coordinates on principal components are a linear function of the vectors, which least squares recover.

    >>> on_axes(np.eye(2), np.array([[3.0], [5.0]]), np.array([[0.5, 0.5]])).round(9).tolist()
    [[4.0]]
    """

    def with_one(table: Any) -> Float64:
        return np.hstack([np.asarray(table, np.float64), np.ones((len(table), 1))])

    weights = np.linalg.lstsq(with_one(vectors), np.asarray(coords, np.float64), rcond=None)[0]
    result: Float64 = with_one(others) @ weights
    return result

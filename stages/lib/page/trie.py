"""The keys of n-grams as a trie: an n-gram shares the nodes of its beginning with all others.

    keys in base 10       3, 37, 374, 5
    trie                  (root) -> 3 -> 7 -> 4
                                 -> 5

A page stores two small numbers per node instead of a key of 63 bits, half of the space after compression, and
finds all n-grams that start at a word by walking down once.
"""

from typing import NamedTuple

import numpy as np

from stages.lib.arrays import Float64, Int64
from stages.lib.ngram.keys import ABSENT


class Trie(NamedTuple):
    """M nodes beside the root, level by level and in each level in the order of their keys. So the children
    of a node are next to each other, and those of the next node follow."""

    digits: (
        Int64  # (M,) of each node: as a difference to the previous child of the same node, if there is one
    )
    children: Int64  # (M + 1,) the number of children of the root and of each node
    rows: Int64  # (M,) the n-gram at each node, or ABSENT


def digits_of(keys: Int64, base: int) -> Int64:
    """The number of digits of each key, which is the length of its n-gram: (F,) -> (F,).

    >>> digits_of(np.array([3, 37, 374]), 10).tolist()
    [1, 2, 3]
    """
    count = np.zeros(len(keys), np.int64)
    while (keys > 0).any():
        count += keys > 0
        keys = keys // base
    return count


def trie_of(keys: Int64, base: int) -> Trie:
    """The trie of distinct keys (F,).

    >>> trie = trie_of(np.array([3, 37, 374, 5]), 10)
    >>> trie.digits.tolist(), trie.children.tolist(), trie.rows.tolist()
    ([3, 2, 7, 4], [2, 1, 0, 1, 0], [0, 3, 1, 2])
    """
    order = np.argsort(keys)
    lengths = digits_of(keys, base)
    levels: list[Int64] = []  # the keys of the nodes, the longest first
    for length in range(int(lengths.max(initial=0)), 0, -1):
        above = levels[-1] // base if levels else np.zeros(0, np.int64)
        levels.append(np.union1d(keys[lengths == length], above))
    digits, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    children = []
    parents = np.zeros(1, np.int64)  # the root
    for level in reversed(levels):
        parent = np.searchsorted(parents, level // base)
        children.append(np.bincount(parent, minlength=len(parents)))
        digit = level % base
        siblings = np.flatnonzero(parent[1:] == parent[:-1]) + 1
        difference = digit.copy()
        difference[siblings] -= digit[siblings - 1]
        digits.append(difference)
        row = order[np.searchsorted(keys, level, sorter=order).clip(max=len(keys) - 1)]
        rows.append(np.where(keys[row] == level, row, ABSENT))
        parents = level
    children.append(np.zeros(len(parents), np.int64))
    return Trie(np.concatenate(digits), np.concatenate(children), np.concatenate(rows))


def strongest(keys: Int64, base: int, strength: Float64, count: int) -> Int64:
    """The rows of the `count` keys (F,) with the highest strength (F,), ascending.

    The beginning of an n-gram is at least as strong as the n-gram: its node would be in the trie anyway.

    >>> strongest(np.array([3, 5, 37, 374]), 10, np.array([0.0, 2.0, 1.0, 3.0]), 3).tolist()
    [0, 2, 3]
    """
    order = np.argsort(keys)
    lengths = digits_of(keys, base)
    strength = strength.copy()
    for length in range(int(lengths.max(initial=0)), 1, -1):
        rows = np.flatnonzero(lengths == length)
        above = keys[rows] // base
        row = order[np.searchsorted(keys, above, sorter=order).clip(max=len(keys) - 1)]
        exists = keys[row] == above
        np.maximum.at(strength, row[exists], strength[rows[exists]])
    result: Int64 = np.sort(np.lexsort((keys, lengths, -strength))[:count])
    return result

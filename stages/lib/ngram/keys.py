"""N-grams as integers: one exact key per n-gram, and the row of each key.

The row numbers of an n-gram are the digits of a number in base V:

    V = 10:  the bigram (3, 7) has key 37; the unigram (3,) has key 3; the trigram (3, 7, 4) has key 374

No digit is 0, because 0 is `<pad>`, so n-grams of different lengths never have the same key. Keys are
exact as long as the largest fits into 63 bits. A `Table` maps the keys of learnt n-grams to rows
without collisions; `Buckets` maps any key to a row by a hash.

Reference: scikit-learn's `CountVectorizer`, which counts strings. Test: tests/test_ngram_keys.py,
test_counts_equal_those_of_scikit_learn.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from stages.lib.arrays import Int32, Int64
from stages.lib.command import Refusal

UInt64 = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio: Knuth's multiplier for hashing
SECOND = np.uint64(0xD1342543DE82EF95)  # another odd multiplier, from Steele and Vigna 2021
MAX_SEEDS = 1 << 16  # hash seeds tried per group; a half full table needs some tens or hundreds
PIECE = 1 << 20  # keys looked up at a time, and tokens from which n-grams of each length are counted apart
ABSENT = -1  # row of an n-gram that is not in the table


class Finder(Protocol):
    """Maps keys of n-grams to rows."""

    rows: int  # F

    def find(self, keys: Int64) -> Int64:
        """The row of each key, or ABSENT."""


class Table:
    """A perfect hash table: the rows of known keys, looked up for whole arrays at a time.

    A first hash assigns each key to a group, a second hash assigns the keys of a group to slots. The
    second hash depends on the group's seed, which is increased until all keys of the group get empty
    slots, so each key has exactly one possible slot. Belazzougui, Botelho and Dietzfelbinger 2009, "Hash,
    Displace, and Compress".

    >>> Table(np.array([30, 31])).find(np.array([31, 32])).tolist()
    [1, -1]
    """

    def __init__(self, keys: Int64) -> None:
        """`keys` (F,) are distinct and positive; the first gets row 0. Raises Refusal if no seed works."""
        self.rows = len(keys)
        self.bits = max(4, int(2 * len(keys)).bit_length())  # at most half full
        # A key and its row are adjacent, so a lookup touches memory once. Key 0 marks an empty slot.
        self.slots = np.full((1 << self.bits, 2), (0, ABSENT), np.int64)
        self.seeds = np.zeros(1 << self.bits - 2, np.uint16)  # one per group
        scrambled = scramble(keys)
        group = top_bits(scrambled, self.bits - 2)
        last_claim = np.zeros(len(self.slots), np.int64)  # the last key that claims a slot gets it
        row = np.argsort(np.bincount(group)[group], kind="stable") if len(keys) else np.arange(0)
        for seed in range(MAX_SEEDS):
            if not len(row):
                return
            slot = self._slot(scrambled[row], np.full(1, seed, np.uint16))
            last_claim[slot] = row
            collides = (last_claim[slot] != row) | (self.slots[slot, 0] != 0)
            failed = np.zeros(len(self.seeds), np.bool_)
            failed[group[row[collides]]] = True  # all keys of a group are stored with one seed
            waits = failed[group[row]]
            stored, slot, row = row[~waits], slot[~waits], row[waits]
            self.slots[slot, 0], self.slots[slot, 1] = keys[stored], stored
            self.seeds[group[stored]] = seed
        raise Refusal(
            f"n-grams: {len(row)} of {len(keys)} keys found no empty slot; lower ngrams.max_features"
        )

    def find(self, keys: Int64) -> Int64:
        """The row of each key, or ABSENT, in the shape of the keys."""
        if len(keys) > PIECE:
            return np.concatenate([self.find(keys[n : n + PIECE]) for n in range(0, len(keys), PIECE)])
        scrambled = scramble(keys)
        slot = self._slot(scrambled, self.seeds.take(top_bits(scrambled, self.bits - 2)))
        entries = self.slots.take(slot, 0)
        return np.where(entries[..., 0] == keys, entries[..., 1], ABSENT)

    def _slot(self, scrambled: UInt64, seed: NDArray[np.uint16]) -> Int64:
        return top_bits((seed * GOLDEN ^ scrambled) * SECOND, self.bits)


class Buckets:
    """The hashing trick: a fixed number of rows, shared by all n-grams with the same hash.

    >>> Buckets(8).find(np.array([31, 31, 32])).tolist()
    [1, 1, 6]
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def find(self, keys: Int64) -> Int64:
        """The row of each key, in the shape of the keys."""
        return hash_bits(keys, 31) * self.rows >> 31


def scramble(keys: Int64) -> UInt64:
    """Keys multiplied so that every bit affects the upper bits. The map is one to one."""
    scrambled = keys.astype(np.uint64)
    scrambled ^= scrambled >> np.uint64(32)
    scrambled *= GOLDEN
    return scrambled


def top_bits(values: UInt64, bits: int) -> Int64:
    """The upper `bits` bits of each value as an integer."""
    return (values >> np.uint64(64 - bits)).view(np.int64)


def hash_bits(keys: Int64, bits: int) -> Int64:
    """A multiplicative hash of `bits` bits, in the shape of the keys."""
    return top_bits(scramble(keys), bits)


def document_ngrams(
    flat: Int32 | Int64, lengths: Int32 | Int64, max_n: int, words: int
) -> Iterator[tuple[Int64, Int64]]:
    """(keys, documents) of all unigrams, then of all bigrams, and so on up to `max_n`.

    `flat` (M,) are the row numbers of documents one after the other, `lengths` (N,) their lengths and
    `words` is V. Raises Refusal if the largest key does not fit into 63 bits.

    >>> [keys.tolist() for keys, _ in document_ngrams(np.array([3, 7, 4]), np.array([2, 1]), 2, 10)]
    [[3, 7, 4], [37]]
    """
    if words**max_n >= 2**63:
        limit = int((2**63 - 1) ** (1 / max_n))
        raise Refusal(
            f"ngrams.max_n: found {max_n} with {words} words; n-grams of this length are possible with at"
            f" most {limit} words; lower it, or set vocabulary.max_words"
        )
    document = np.repeat(np.arange(len(lengths)), lengths)  # (M,)
    for order, keys in enumerate(ngram_keys(flat, max_n, words)):
        first, last = document[: len(keys)], document[order:]
        inside = first == last  # an n-gram does not cross the end of a document
        yield keys[inside], first[inside]


def ngram_keys(ids: Int32 | Int64, max_n: int, words: int) -> Iterator[Int64]:
    """The keys of all n-grams along the last axis, for each n from 1 to `max_n`.

    (..., T) -> (..., T + 1 - n), empty if T < n. Padding and the ends of documents are ignored.

    >>> [keys.tolist() for keys in ngram_keys(np.array([[3, 7, 4]]), 2, 10)]
    [[[3, 7, 4]], [[37, 74]]]
    """
    wide = ids.astype(np.int64)
    keys = wide
    for order in range(max_n):
        if order:
            keys = keys[..., :-1] * words + wide[..., order:]
        yield keys


def learn_ngrams(
    flat: Int32 | Int64,
    lengths: Int32 | Int64,
    max_n: int,
    words: int,
    min_df: int,
    max_features: int,
) -> tuple[Int64, csr_matrix]:
    """The n-grams in at least `min_df` documents: keys (F,), ascending, and counts (N, F).

    If there are more than `max_features`, those with the highest document frequency are kept; of equal
    ones those with the lower keys. Each length of n-gram has a thread; threads do not change the result.
    """

    def learn_order(part: tuple[Int64, Int64]) -> tuple[Int64, csr_matrix]:
        keys, document = part
        ordered = np.sort(keys)
        first = group_starts(ordered)
        frequent = np.diff(first, append=len(ordered)) >= min_df  # an upper bound of the document frequency
        candidates = ordered[first[frequent]]
        counts = count_matrix(Table(candidates).find(keys), document, len(candidates), len(lengths))
        kept = np.diff(counts.indptr) >= min_df
        return candidates[kept], counts[kept]

    with ThreadPoolExecutor(min(max_n, os.cpu_count() or 1)) as pool:
        parts = list(pool.map(learn_order, document_ngrams(flat, lengths, max_n, words)))
    keys = np.concatenate([part for part, _ in parts])
    counts = vstack([part for _, part in parts], format="csr")  # (F, N)
    if len(keys) > max_features:
        order = np.argsort(-np.diff(counts.indptr), kind="stable")
        kept = np.sort(order[:max_features])
        keys, counts = keys[kept], counts[kept]
    return keys, counts.T.tocsr()


def count_ngrams(
    flat: Int32 | Int64, lengths: Int32 | Int64, max_n: int, words: int, finder: Finder
) -> csr_matrix:
    """How often each n-gram of `finder` occurs in each document: (N, F) float32."""
    ngrams = document_ngrams(flat, lengths, max_n, words)
    parts = ((document, finder.find(keys)) for keys, document in ngrams)
    if len(flat) > PIECE:  # of a long document: less memory, and the same counts
        return reduce(add, (count_matrix(*part, len(lengths), finder.rows) for part in parts))
    document, row = (np.concatenate(part) for part in zip(*parts, strict=True))
    return count_matrix(document, row, len(lengths), finder.rows)


def count_matrix(row: Int64, column: Int64, height: int, width: int) -> csr_matrix:
    """How often each (row, column) pair occurs: (height, width) float32. Pairs with ABSENT are ignored."""
    small = height * width < 2**32
    cells = (row * width + column)[(row | column) >= 0].astype(np.uint32 if small else np.int64)
    cells.sort()
    first = group_starts(cells)
    counts = np.diff(first, append=len(cells)).astype(np.float32)
    cells = cells[first]
    ends = np.searchsorted(cells, (np.arange(height + 1) * width).astype(cells.dtype))
    ends[-1] = len(cells)
    start = np.repeat(np.arange(height) * width, np.diff(ends)).astype(cells.dtype)
    return csr_matrix(
        (counts, (cells - start).astype(np.int32), ends.astype(np.int32)), shape=(height, width)
    )


def group_starts(ordered: NDArray[Any]) -> Int64:
    """The position of the first of each group of equal values in a sorted array.

    >>> group_starts(np.array([4, 4, 7])).tolist()
    [0, 2]
    """
    if not len(ordered):
        return np.zeros(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])

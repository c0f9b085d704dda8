"""N-grams: runs of words, told apart by one whole number each.

A run of row numbers is read as a number whose digits they are, in base V:

    V = 10:  the words 3 and 7 in a row are 37;  the word 3 alone is 3;  3, 7, 4 are 374

No digit is 0, for `<pad>` is no word, so runs of different lengths never meet in a number: n-grams
are exact, as long as the largest fits into 63 bits. A table finds an n-gram's row among those that
were learnt, as quickly as memory answers.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from stages.lib.command import Refusal

Ints = NDArray[np.int64]
Mixed = NDArray[np.uint64]
Rows = NDArray[np.int32] | NDArray[np.int64]  # of the vocabulary

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: Knuth's multiplier for hashing
SECOND = np.uint64(0xD1342543DE82EF95)  # another odd multiplier, of Steele and Vigna 2021
TURNS = 1 << 16  # at most: half full, a table is done after some tens or hundreds
ABSENT = -1


class Finder(Protocol):
    """What knows the rows of n-grams."""

    rows: int  # F

    def find(self, keys: Ints) -> Ints:
        """The row of each key, or ABSENT."""


class Table:
    """The rows of known n-grams, asked for many keys at once: a hash table in which no two keys meet.

    A first hash deals the keys to buckets, and a second one deals those of a bucket to slots. It depends
    on the bucket's turn, which is raised until its keys fall on slots of their own: a key can be in one
    slot only. Belazzougui, Botelho and Dietzfelbinger 2009, "Hash, Displace, and Compress".

    >>> Table(np.array([30, 31])).find(np.array([31, 32])).tolist()
    [1, -1]
    """

    def __init__(self, keys: Ints) -> None:
        """Keys (F,), all different and above 0; the first gets row 0."""
        self.rows = len(keys)
        self.bits = max(4, int(2 * len(keys)).bit_length())  # at most half full
        # A key and its row stand side by side: memory is asked once for both. Key 0 is an empty slot.
        self.slots = np.full((1 << self.bits, 2), (0, ABSENT), np.int64)
        self.turns = np.zeros(1 << self.bits - 2, np.uint16)  # of each bucket
        mixed = mix(keys)
        bucket = upper(mixed, self.bits - 2)
        claims = np.zeros(len(self.slots), np.int64)  # the last key that wants a slot gets it
        row = np.argsort(np.bincount(bucket)[bucket], kind="stable") if len(keys) else np.arange(0)
        for turn in range(TURNS):
            if not len(row):
                return
            slot = self._slot(mixed[row], np.full(1, turn, np.uint16))
            claims[slot] = row
            lost = (claims[slot] != row) | (self.slots[slot, 0] != 0)
            stuck = np.zeros(len(self.turns), np.bool_)
            stuck[bucket[row[lost]]] = True  # a bucket's keys are placed together, or wait together
            waits = stuck[bucket[row]]
            placed, slot, row = row[~waits], slot[~waits], row[waits]
            self.slots[slot, 0], self.slots[slot, 1] = keys[placed], placed
            self.turns[bucket[placed]] = turn
        raise Refusal(f"n-grams: {len(row)} of {len(keys)} found no slot of their own; lower ngrams.limit")

    def find(self, keys: Ints) -> Ints:
        """The row of each key, or ABSENT, in the shape of the keys."""
        mixed = mix(keys)
        slot = self._slot(mixed, self.turns.take(upper(mixed, self.bits - 2)))
        found = self.slots.take(slot, 0)
        return np.where(found[..., 0] == keys, found[..., 1], ABSENT)

    def _slot(self, mixed: Mixed, turn: NDArray[np.uint16]) -> Ints:
        return upper((turn * GOLDEN ^ mixed) * SECOND, self.bits)


class Buckets:
    """Rows dealt by a hash, known n-grams or not: bounded memory, at the price of chance neighbours.

    >>> Buckets(8).find(np.array([31, 31, 32])).tolist()
    [1, 1, 6]
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def find(self, keys: Ints) -> Ints:
        """The row of each key: (M,) -> (M,)."""
        return hashed(keys, 31) * self.rows >> 31


def mix(keys: Ints) -> Mixed:
    """Keys in whose upper bits every bit has its say, the same on every machine; no two become one."""
    mixed = keys.astype(np.uint64)
    mixed ^= mixed >> np.uint64(32)
    mixed *= GOLDEN
    return mixed


def upper(mixed: Mixed, bits: int) -> Ints:
    """The number that the upper bits make."""
    return (mixed >> np.uint64(64 - bits)).view(np.int64)


def hashed(keys: Ints, bits: int) -> Ints:
    """A multiplicative hash of so many bits, in the shape of the keys."""
    return upper(mix(keys), bits)


def runs(flat: Ints, lengths: Ints, longest: int, words: int) -> Iterator[tuple[Ints, Ints]]:
    """(keys, reviews) of all runs of one word, of two and so on to `longest`.

    `flat` holds the row numbers of reviews one after the other, `lengths` (N,) how many each has,
    `words` is V. Raises Refusal where the largest key would not fit.

    >>> [keys.tolist() for keys, _ in runs(np.array([3, 7, 4]), np.array([2, 1]), 2, 10)]
    [[3, 7, 4], [37]]
    """
    if words**longest >= 2**63:
        most = int((2**63 - 1) ** (1 / longest))
        raise Refusal(
            f"ngrams.longest: found {longest} with {words} words; runs so long can be told apart among"
            f" {most} words: lower it, or set vocabulary.max_words"
        )
    review = np.repeat(np.arange(len(lengths)), lengths)
    for order, keys in enumerate(keys_of(flat, longest, words)):
        first, last = review[: len(keys)], review[order:]
        inside = first == last  # no run goes from one review to the next
        yield keys[inside], first[inside]


def keys_of(ids: Rows, longest: int, words: int) -> Iterator[Ints]:
    """The keys of all runs of n words along the last axis, whatever lies there, for each n up to `longest`:
    (..., T) -> (..., T + 1 - n), or none where T is less than n.

    >>> [keys.tolist() for keys in keys_of(np.array([[3, 7, 4]]), 2, 10)]
    [[[3, 7, 4]], [[37, 74]]]
    """
    wide = ids.astype(np.int64)
    keys = wide
    yield keys
    for order in range(1, longest):
        keys = keys[..., :-1] * words + wide[..., order:]
        yield keys


def learn(
    flat: Ints,
    lengths: Ints,
    longest: int,
    words: int,
    least: int,
    limit: int,
    threads: int = 1,
) -> tuple[Ints, csr_matrix]:
    """The n-grams that at least `least` reviews have, and which reviews have them.

    Keys (F,) in rising order, of more than `limit` those that the most reviews have; and (F, N): how
    often a review has an n-gram. The threads change no byte.
    """
    tall = len(lengths)

    def known(run: tuple[Ints, Ints]) -> tuple[Ints, csr_matrix]:
        keys, review = run
        ordered = np.sort(keys)
        first = first_of_each(ordered)
        often = np.diff(first, append=len(ordered)) >= least  # there are no more reviews than places
        candidates = ordered[first[often]]
        places = table_of(Table(candidates).find(keys), review, len(candidates), tall)
        kept = np.diff(places.indptr) >= least
        return candidates[kept], places[kept]

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(known, runs(flat, lengths, longest, words)))
    keys = np.concatenate([part for part, _ in found])
    places = vstack([part for _, part in found], format="csr")
    if len(keys) > limit:
        commonest = np.sort(np.argsort(-np.diff(places.indptr), kind="stable")[:limit])
        keys, places = keys[commonest], places[commonest]
    return keys, places


def incidence(flat: Ints, lengths: Ints, longest: int, words: int, finder: Finder) -> csr_matrix:
    """How often each review has each n-gram: (N, F)."""
    found = [(finder.find(keys), review) for keys, review in runs(flat, lengths, longest, words)]
    column, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return table_of(row, column, len(lengths), finder.rows)


def table_of(row: Ints, column: Ints, tall: int, wide: int) -> csr_matrix:
    """How often each pair of a row and a column occurs, (tall, wide); a pair with ABSENT is left out."""
    small = tall * wide < 2**32
    cells = (row * wide + column)[(row | column) >= 0].astype(np.uint32 if small else np.int64)
    cells.sort()
    first = first_of_each(cells)
    times = np.diff(first, append=len(cells)).astype(np.float32)
    cells = cells[first]
    ends = np.searchsorted(cells, (np.arange(tall + 1) * wide).astype(cells.dtype))
    ends[-1] = len(cells)
    column = (cells - np.repeat(np.arange(tall) * wide, np.diff(ends)).astype(cells.dtype)).astype(np.int32)
    return csr_matrix((times, column, ends.astype(np.int32)), shape=(tall, wide))


def first_of_each(ordered: NDArray[Any]) -> Ints:
    """Where each distinct value of a sorted list begins.

    >>> first_of_each(np.array([4, 4, 7])).tolist()
    [0, 2]
    """
    if not len(ordered):
        return np.zeros(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])

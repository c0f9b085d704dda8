"""N-grams: runs of words, told apart by one whole number each.

A run of row numbers is read as a number whose digits they are, in base V:

    V = 10:  the words 3 and 7 in a row are 37;  the word 3 alone is 3;  3, 7, 4 are 374

No digit is 0, for `<pad>` is no word, so runs of different lengths never meet in a number: n-grams
are exact, as long as the largest fits into 63 bits. A table finds an n-gram's row among those that
were learnt, as quickly as memory answers.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from stages.lib.command import Refusal

Ints = NDArray[np.int64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: Knuth's multiplier for hashing
ABSENT = -1


class Finder(Protocol):
    """What knows the rows of n-grams. One that knows a run of words knows all shorter runs in it: as
    many reviews have them, and more."""

    rows: int  # F

    def find(self, keys: Ints) -> Ints:
        """The row of each key, or ABSENT."""


class Table:
    """The rows of known n-grams: a hash table with open addressing, asked for many keys at once.

    >>> Table(np.array([30, 31])).find(np.array([31, 32])).tolist()
    [1, -1]
    """

    def __init__(self, keys: Ints) -> None:
        """Keys (F,), all different and above 0; the first gets row 0."""
        self.rows = len(keys)
        self.bits = max(4, int(2 * len(keys)).bit_length())  # at most half full
        self.keys = np.zeros(1 << self.bits, np.int64)  # 0: an empty slot
        self.row_of = np.zeros(1 << self.bits, np.int32)
        row, slot = np.arange(len(keys)), self._home(keys)
        while len(row):
            free = self.keys[slot] == 0
            self.keys[slot[free]] = keys[row[free]]  # of several in one slot the last stays
            placed = self.keys[slot] == keys[row]
            self.row_of[slot[placed]] = row[placed]
            row, slot = row[~placed], self._next(slot[~placed])

    def find(self, keys: Ints) -> Ints:
        """The row of each key, or ABSENT: (M,) -> (M,)."""
        slot = self._home(keys)
        there = self.keys.take(slot)
        found = self.row_of.take(slot).astype(np.int64)
        other = there != keys
        found[other] = ABSENT
        asked = np.flatnonzero(other & (there != 0))  # another key lives here: look next door
        slot = slot[asked]
        while len(asked):
            slot = self._next(slot)
            there = self.keys.take(slot)
            mine = there == keys[asked]
            found[asked[mine]] = self.row_of.take(slot[mine])
            on = ~mine & (there != 0)
            asked, slot = asked[on], slot[on]
        return found

    def _home(self, keys: Ints) -> Ints:
        return hashed(keys, self.bits)

    def _next(self, slot: Ints) -> Ints:
        return (slot + 1) & ((1 << self.bits) - 1)


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


def hashed(keys: Ints, bits: int) -> Ints:
    """The upper bits of a multiplicative hash, the same on every machine: (M,) -> (M,)."""
    mixed = keys.astype(np.uint64)
    mixed ^= mixed >> np.uint64(32)
    mixed *= GOLDEN
    return (mixed >> np.uint64(64 - bits)).astype(np.int64)


class Runs(NamedTuple):
    """All runs of so many words, M of them, in the order of the text."""

    keys: Ints  # (M,)
    reviews: Ints  # (M,) whose they are
    places: Ints  # (M,) where they begin


def runs(flat: Ints, lengths: Ints, longest: int, words: int) -> Iterator[Runs]:
    """The runs of one word, those of two and so on to `longest`.

    `flat` holds the row numbers of reviews one after the other, `lengths` (N,) how many each has,
    `words` is V. Raises Refusal where the largest key would not fit.

    >>> [run.keys.tolist() for run in runs(np.array([3, 7, 4]), np.array([2, 1]), 2, 10)]
    [[3, 7, 4], [37]]
    """
    if words**longest >= 2**63:
        most = int((2**63 - 1) ** (1 / longest))
        raise Refusal(
            f"ngrams.longest: found {longest} with {words} words; runs so long can be told apart among"
            f" {most} words: lower it, or set vocabulary.max_words"
        )
    flat = flat.astype(np.int64)
    review = np.repeat(np.arange(len(lengths)), lengths)
    for order in range(1, longest + 1):
        count = max(0, len(flat) - order + 1)
        keys = flat[:count]
        for later in range(1, order):
            keys = keys * words + flat[later : later + count]
        inside = review[:count] == review[order - 1 :][:count]  # no run goes from one review to the next
        yield Runs(keys[inside], review[:count][inside], np.flatnonzero(inside))


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

    def known(run: Runs) -> tuple[Ints, csr_matrix]:
        ordered = np.sort(run.keys)
        first = first_of_each(ordered)
        often = np.diff(first, append=len(ordered)) >= least  # there are no more reviews than places
        candidates = ordered[first[often]]
        places = table_of(Table(candidates).find(run.keys), run.reviews, len(candidates), tall)
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
    found = [(row, run.reviews) for row, run in known_runs(flat, lengths, longest, words, finder)]
    column, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return table_of(row, column, len(lengths), finder.rows)


def known_runs(
    flat: Ints, lengths: Ints, longest: int, words: int, finder: Finder
) -> Iterator[tuple[Ints, Runs]]:
    """The runs that `finder` knows, and their rows (M,), by how many words they have.

    Memory answers slowly, so it is not asked for a run of which it does not know both ends.
    """
    known = np.ones(len(flat) + 1, bool)  # whether the run is, one word shorter, that begins at a place
    for run in runs(flat, lengths, longest, words):
        asked = Runs(*(part[known[run.places] & known[run.places + 1]] for part in run))
        row = finder.find(asked.keys)
        there = row != ABSENT
        row, run = row[there], Runs(*(part[there] for part in asked))
        known[:] = False
        known[run.places] = True
        yield row, run


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

"""Subwords: a word's pieces, its character n-grams, say something of words never seen.

    "<where>"  in pieces of 3:  <wh  whe  her  ere  re>

Each piece falls into one of a number of buckets, by a hash of its letters; a word's vector is the
mean of its own row and of its buckets' rows. A word without a row has its buckets' mean.

    Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information"
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stages.lib.params import Section

OFFSET, PRIME = np.uint32(2166136261), np.uint32(16777619)  # of the FNV-1a hash, 32 bits
WORDS = 4096  # cut into pieces at a time; a long one makes the table of its batch wide


class Subwords(Section):
    """Which pieces, and how many rows they share."""

    min: int = Field(ge=1, le=30)  # letters of a piece, `<` and `>` at the ends of a word among them
    max: int = Field(ge=1, le=30)
    buckets: int = Field(ge=1, le=2**31 - 1)  # rows of D numbers; too few, and many pieces share one

    @model_validator(mode="after")
    def _ordered(self) -> "Subwords":
        if self.min > self.max:
            raise ValueError(f"min must not be above max: {self.min} > {self.max}")
        return self


def pieces_of(words: Sequence[str], subwords: Subwords) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The buckets of each word's pieces, one word after the other (M,), and each word's number (W,).

    >>> buckets, counts = pieces_of(["her", "a"], Subwords(min=3, max=3, buckets=1000))
    >>> counts.tolist()
    [3, 1]
    >>> buckets.tolist() == [bucket(piece, 1000) for piece in ("<he", "her", "er>", "<a>")]
    True
    """
    buckets = [np.empty(0, np.int64)]
    counts = [np.empty(0, np.int64)]
    for start in range(0, len(words), WORDS):
        part = [f"<{word}>" for word in words[start : start + WORDS]]
        lengths = np.array([len(word) for word in part])
        letters = np.array(part).view(np.uint32).reshape(len(part), -1)  # (W, L) code points
        width = letters.shape[1]
        first = np.arange(width)
        hashes = np.full(letters.shape, OFFSET)
        found, there = [], []
        for length in range(1, subwords.max + 1):
            if length > width:
                break
            hashes = (hashes[:, : width - length + 1] ^ letters[:, length - 1 :]) * PRIME
            if length >= subwords.min:
                end = first[: width - length + 1] + length
                whole = end <= lengths[:, None]
                if length == 1:  # the marks alone are no pieces
                    whole[:, 0] = False
                    whole[np.arange(len(part)), lengths - 1] = False
                found.append(hashes % np.uint32(subwords.buckets))
                there.append(whole)
        if not found:  # every word is shorter than a piece
            counts.append(np.zeros(len(part), np.int64))
            continue
        table, mask = np.concatenate(found, 1), np.concatenate(there, 1)  # (W, pieces), word by word
        buckets.append(table[mask].astype(np.int64))
        counts.append(mask.sum(1))
    return np.concatenate(buckets), np.concatenate(counts)


def bucket(piece: str, buckets: int) -> int:
    """The bucket of one piece: FNV-1a over its code points.

    >>> bucket("a", 1 << 31)
    1678518572
    """
    value = int(OFFSET)
    for letter in piece:
        value = ((value ^ ord(letter)) * int(PRIME)) % (1 << 32)
    return value % buckets


def vector_of(word: str, table: NDArray[np.float32], subwords: Subwords) -> NDArray[np.float32] | None:
    """The vector of a word that has no row of its own: the mean of its buckets' rows, table
    (buckets, D). None where the word is too short to have pieces."""
    buckets, _ = pieces_of([word], subwords)
    if not len(buckets):
        return None
    mean: NDArray[np.float32] = table[buckets].mean(0)
    return mean

"""Character n-grams: the spelling of a word gives a vector to words that are not in the vocabulary.

    "<where>"  n-grams of 3 characters:  <wh  whe  her  ere  re>

Each n-gram is hashed to one of a number of buckets. A word's vector is the mean of its own row and of its
buckets' rows; a word without a row has the mean of its buckets' rows.

    Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information"
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from stages.lib.arrays import Float32, Int64
from stages.lib.params import Section

OFFSET, PRIME = np.uint32(2166136261), np.uint32(16777619)  # of the 32-bit FNV-1a hash
BATCH = 4096  # words processed at a time; the longest word sets the width of its batch


class CharNgrams(Section):
    """The lengths of the n-grams, and the number of rows that they share."""

    min: int = Field(ge=1, le=30)  # characters, with `<` and `>` at the ends of a word included
    max: int = Field(ge=1, le=30)
    buckets: int = Field(ge=1, le=2**31 - 1)  # rows of D numbers; with too few, many n-grams share one

    @model_validator(mode="after")
    def _ordered(self) -> "CharNgrams":
        if self.min > self.max:
            raise ValueError(f"min must not be above max: {self.min} > {self.max}")
        return self


def char_ngrams_of(words: Sequence[str], ngrams: CharNgrams, batch: int = BATCH) -> tuple[Int64, Int64]:
    """The buckets of all words' n-grams, word by word (M,), and the number of n-grams per word (W,).

    >>> buckets, counts = char_ngrams_of(["her", "a"], CharNgrams(min=3, max=3, buckets=1000))
    >>> counts.tolist()
    [3, 1]
    >>> buckets.tolist() == [bucket(ngram, 1000) for ngram in ("<he", "her", "er>", "<a>")]
    True
    """
    starts = range(0, len(words), batch)
    parts = [_buckets_of_batch(words[start : start + batch], ngrams) for start in starts]
    empty = np.empty(0, np.int64)
    buckets, counts = zip((empty, empty), *parts, strict=True)
    return np.concatenate(buckets), np.concatenate(counts)


def _buckets_of_batch(words: Sequence[str], ngrams: CharNgrams) -> tuple[Int64, Int64]:
    """`char_ngrams_of` for some words at once: each word is a row, and a column an n-gram."""
    marked = [f"<{word}>" for word in words]
    lengths = np.array([len(word) for word in marked])
    letters = np.array(marked).view(np.uint32).reshape(len(marked), -1)  # (W, width) code points
    width = letters.shape[1]
    hashes = np.full(letters.shape, OFFSET)
    buckets, masks = [], []
    for length in range(1, min(ngrams.max, width) + 1):
        hashes = (hashes[:, : width - length + 1] ^ letters[:, length - 1 :]) * PRIME
        if length >= ngrams.min:
            mask = np.arange(width - length + 1) + length <= lengths[:, None]  # ends inside the word
            if length == 1:  # the marks alone are not n-grams
                mask[:, 0] = False
                mask[np.arange(len(marked)), lengths - 1] = False
            buckets.append(hashes % np.uint32(ngrams.buckets))
            masks.append(mask)
    if not buckets:  # every word is shorter than an n-gram
        return np.empty(0, np.int64), np.zeros(len(marked), np.int64)
    table, valid = np.concatenate(buckets, 1), np.concatenate(masks, 1)  # (W, n-grams)
    return table[valid].astype(np.int64), valid.sum(1)


def bucket(ngram: str, buckets: int) -> int:
    """The bucket of one n-gram: FNV-1a over its code points.

    >>> bucket("a", 1 << 31)
    1678518572
    """
    value = int(OFFSET)
    for letter in ngram:
        value = ((value ^ ord(letter)) * int(PRIME)) % (1 << 32)
    return value % buckets


def vector_of(word: str, table: Float32, ngrams: CharNgrams) -> Float32 | None:
    """The vector of a word without a row: the mean of its buckets' rows in the table (buckets, D).

    Returns None if the word is too short to have n-grams.
    """
    buckets, _ = char_ngrams_of([word], ngrams)
    if not len(buckets):
        return None
    mean: Float32 = table[buckets].mean(0)
    return mean

"""Words as documents of letters, so that the n-grams of letters are counted as those of words.

A word is written between two boundaries, and each letter has a number:

    "to"  ->  | t o |  ->  2 5 4 2  ->  n-grams |, t, o, |t, to, o|, |to, to|, |to|

A letter is a code point. 0 is not used, 1 is a letter that is not in the alphabet, 2 is the boundary, and
the letters of the alphabet follow in the order of their code points.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from stages.lib.arrays import Int32, Int64
from stages.lib.ngram.keys import Finder, count_ngrams, learn_ngrams

UNKNOWN_LETTER, BOUNDARY, FIRST_LETTER = 1, 2, 3
MAX_LETTERS = 64  # of a longer word only the first letters are read: the rest is hardly a word


def learn_alphabet(words: Sequence[str], max_n: int) -> Int32:
    """The code points (A,) in the words, ascending, and at most as many as n-gram keys have room for.

    >>> "".join(map(chr, learn_alphabet(["to", "too"], max_n=5)))
    'ot'
    """
    counts = Counter(letter for word in words for letter in word[:MAX_LETTERS])
    room = int((2**63 - 1) ** (1 / max_n)) - FIRST_LETTER - 1
    frequent = sorted(counts, key=lambda letter: (-counts[letter], letter))[:room]
    return np.array(sorted(map(ord, frequent)), np.int32)


def spell(words: Sequence[str], alphabet: Int32) -> tuple[Int32, Int32]:
    """The letters of words one after the other, (M,), and the number of letters of each, (W,).

    >>> letters, lengths = spell(["to", "x"], np.array([111, 116]))  # o, t
    >>> letters.tolist(), lengths.tolist()
    ([2, 4, 3, 2, 2, 1, 2], [4, 3])
    """
    cut = [word[:MAX_LETTERS] for word in words]
    points = np.frombuffer("".join(cut).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    lengths = np.fromiter(map(len, cut), np.int32, len(cut))
    position = np.searchsorted(alphabet, points)
    known = np.append(alphabet, -1)[position] == points
    letters = np.full(len(points) + 2 * len(cut), BOUNDARY, np.int32)
    word = np.repeat(np.arange(len(cut)), lengths)
    letters[np.arange(len(points)) + 2 * word + 1] = np.where(known, position + FIRST_LETTER, UNKNOWN_LETTER)
    return letters, lengths + 2


def learn_char_ngrams(words: Sequence[str], alphabet: Int32, max_n: int) -> tuple[Int64, csr_matrix]:
    """The character n-grams of words: keys (F,), ascending, and counts (W, F)."""
    letters, lengths = spell(words, alphabet)
    return learn_ngrams(letters, lengths, max_n, len(alphabet) + FIRST_LETTER, 1, 2**31 - 1)


def count_char_ngrams(words: Sequence[str], alphabet: Int32, max_n: int, finder: Finder) -> csr_matrix:
    """How often each character n-gram of `finder` occurs in each word: (W, F)."""
    letters, lengths = spell(words, alphabet)
    return count_ngrams(letters, lengths, max_n, len(alphabet) + FIRST_LETTER, finder)

"""Letters: words as documents of letters, the alphabet, and their n-grams against plain Python."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.lib.arrays import Int32
from stages.lib.ngram import letters as letters_module
from stages.lib.ngram.keys import Table
from stages.lib.ngram.letters import (
    BOUNDARY,
    FIRST_LETTER,
    MAX_LETTERS,
    UNKNOWN_LETTER,
    count_char_ngrams,
    learn_alphabet,
    learn_char_ngrams,
    spell,
)

WORD = st.text(st.sampled_from("aoté🙃") | st.characters(), max_size=6) | st.text(
    st.sampled_from("ab"), min_size=MAX_LETTERS - 2, max_size=MAX_LETTERS + 9
)
WORDS = st.lists(WORD, max_size=8)


def numbers_of(word: str, alphabet: Int32) -> list[int]:
    """The letters of a word as numbers, by a dict."""
    number = {chr(point): n for n, point in enumerate(alphabet.tolist(), FIRST_LETTER)}
    return [BOUNDARY, *(number.get(letter, UNKNOWN_LETTER) for letter in word[:MAX_LETTERS]), BOUNDARY]


def keys_of(word: str, alphabet: Int32, max_n: int) -> Counter[int]:
    """The keys of a word's n-grams, by Python's integers."""
    numbers, base = numbers_of(word, alphabet), len(alphabet) + FIRST_LETTER
    return Counter(
        sum(digit * base**n for n, digit in enumerate(reversed(numbers[start : start + order])))
        for order in range(1, max_n + 1)
        for start in range(len(numbers) - order + 1)
    )


@given(words=WORDS, known=st.text(max_size=9))
@example(words=["a\ud83d", "\ud83d"], known="\ud83d")
@example(words=["🙃", "\U0010ffff"], known="🙃")
@settings(deadline=None)
def test_letters_equal_those_of_a_dict(words: list[str], known: str) -> None:
    alphabet = np.array(sorted(set(map(ord, known))), np.int32)
    letters, lengths = spell(words, alphabet)
    expected = [numbers_of(word, alphabet) for word in words]
    assert letters.tolist() == [number for row in expected for number in row]
    assert lengths.tolist() == [len(row) for row in expected]
    assert letters.dtype == lengths.dtype == np.int32


def test_of_a_long_word_the_first_letters_are_read() -> None:
    long, longer = "ab" * 32, "ab" * 32 + "c" * 1000
    alphabet = learn_alphabet([longer], 3)
    assert alphabet.tolist() == [97, 98]
    for one, other in zip(spell([long], alphabet), spell([longer], alphabet), strict=True):
        assert one.tolist() == other.tolist()


@given(words=WORDS)
@settings(deadline=None)
def test_the_alphabet_has_every_letter_of_the_words(words: list[str]) -> None:
    expected = sorted({ord(letter) for word in words for letter in word[:MAX_LETTERS]})
    assert learn_alphabet(words, 3).tolist() == expected


@pytest.mark.parametrize("max_n", range(1, 9))
def test_a_large_alphabet_keeps_the_most_frequent_letters_that_keys_have_room_for(max_n: int) -> None:
    letters = [chr(0x4E00 + n) for n in range(300)]
    words = [letter * 2 for letter in letters[200:]] + letters
    alphabet = learn_alphabet(words, max_n)
    assert (len(alphabet) + FIRST_LETTER) ** max_n < 2**63
    assert len(alphabet) == 300 or (len(alphabet) + FIRST_LETTER + 2) ** max_n >= 2**63
    if len(alphabet) < 300:
        assert set(map(ord, letters[200:])) <= set(alphabet.tolist())
    assert sorted(alphabet.tolist()) == alphabet.tolist()
    learn_char_ngrams(words, alphabet, max_n)  # has room for every key


@given(words=WORDS, max_n=st.integers(1, 4))
@settings(deadline=None)
def test_learnt_ngrams_equal_counters(words: list[str], max_n: int) -> None:
    alphabet = learn_alphabet(words[::2], max_n)  # some letters are unknown
    keys, counts = learn_char_ngrams(words, alphabet, max_n)
    expected = [keys_of(word, alphabet, max_n) for word in words]
    assert keys.tolist() == sorted(set().union(*expected))
    dense = [[row[key] for key in keys.tolist()] for row in expected]
    assert counts.toarray().tolist() == dense
    assert counts.shape == (len(words), len(keys))


@given(words=WORDS, others=WORDS, max_n=st.integers(1, 4))
@settings(deadline=None)
def test_counts_of_other_words_equal_counters(words: list[str], others: list[str], max_n: int) -> None:
    alphabet = learn_alphabet(words, max_n)
    keys, _ = learn_char_ngrams(words, alphabet, max_n)
    counts = count_char_ngrams(others, alphabet, max_n, Table(keys))
    expected = [keys_of(word, alphabet, max_n) for word in others]
    assert counts.toarray().tolist() == [[row[key] for key in keys.tolist()] for row in expected]


def test_an_empty_word_has_the_ngrams_of_its_boundaries() -> None:
    alphabet = np.zeros(0, np.int32)
    keys, counts = learn_char_ngrams([""], alphabet, 3)
    assert keys.tolist() == [BOUNDARY, BOUNDARY * 3 + BOUNDARY]
    assert counts.toarray().tolist() == [[2, 1]]


def test_no_words_have_no_letters() -> None:
    assert learn_alphabet([], 5).tolist() == []
    letters, lengths = spell([], np.zeros(0, np.int32))
    assert (letters.tolist(), lengths.tolist()) == ([], [])
    keys, counts = learn_char_ngrams([], np.zeros(0, np.int32), 5)
    assert (len(keys), counts.shape) == (0, (0, 0))
    assert letters_module.MAX_LETTERS == 64

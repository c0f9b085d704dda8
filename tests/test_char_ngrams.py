"""Character n-grams against a loop, hashes against known values, vectors of unknown words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.char_ngrams import CharNgrams, bucket, char_ngrams_of, vector_of
from stages.lib.command import Refusal
from stages.lib.params import check

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def by_loop(word: str, ngrams: CharNgrams) -> list[int]:
    marked = f"<{word}>"
    ngrams_of_word = [
        marked[start : start + length]
        for length in range(ngrams.min, ngrams.max + 1)
        for start in range(len(marked) - length + 1)
        if length > 1 or 0 < start < len(marked) - 1
    ]
    return [bucket(ngram, ngrams.buckets) for ngram in ngrams_of_word]


@given(words=st.lists(WORDS, max_size=6), smallest=st.integers(1, 4), more=st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_ngrams_equal_those_of_a_loop(words: list[str], smallest: int, more: int) -> None:
    ngrams = CharNgrams(min=smallest, max=smallest + more, buckets=997)
    buckets, counts = char_ngrams_of(words, ngrams)
    expected = [by_loop(word, ngrams) for word in words]
    assert counts.tolist() == [len(one) for one in expected]
    assert buckets.tolist() == [ngram for one in expected for ngram in one]


def test_batches_of_words_give_the_same_ngrams() -> None:
    words = ["film", "a", "unforgettable", "🙃🙃", "the"]
    whole = char_ngrams_of(words, CharNgrams(min=2, max=5, buckets=50))
    parts = char_ngrams_of(words, CharNgrams(min=2, max=5, buckets=50), batch=2)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_the_hash_is_fnv_1a() -> None:
    assert bucket("a", 1 << 32) == 0xE40C292C
    assert bucket("foobar", 1 << 32) == 0xBF9CF968


def test_the_vector_of_an_unknown_word_is_the_mean_of_its_ngrams() -> None:
    ngrams = CharNgrams(min=3, max=3, buckets=10)
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    rows = [bucket(ngram, 10) for ngram in ("<he", "her", "er>")]
    vector = vector_of("her", table, ngrams)
    assert vector is not None
    assert vector.tolist() == pytest.approx(table[rows].mean(0).tolist())
    assert vector_of("a", table, CharNgrams(min=4, max=4, buckets=10)) is None


def test_a_minimum_above_the_maximum_is_refused() -> None:
    with pytest.raises(Refusal, match="min must not be above max: 5 > 3"):
        check(CharNgrams, {"min": 5, "max": 3, "buckets": 10}, "params.yaml: embeddings.char_ngrams")

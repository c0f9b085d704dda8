"""Subwords: pieces by hand and against a loop, hashes against a known value, vectors of unknown words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.command import Refusal
from stages.lib.params import check
from stages.lib.subwords import Subwords, bucket, pieces_of, vector_of

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def by_loop(word: str, subwords: Subwords) -> list[int]:
    marked = f"<{word}>"
    pieces = [
        marked[start : start + length]
        for length in range(subwords.min, subwords.max + 1)
        for start in range(len(marked) - length + 1)
        if length > 1 or 0 < start < len(marked) - 1
    ]
    return [bucket(piece, subwords.buckets) for piece in pieces]


@given(words=st.lists(WORDS, max_size=6), smallest=st.integers(1, 4), more=st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_pieces_are_those_of_a_loop(words: list[str], smallest: int, more: int) -> None:
    subwords = Subwords(min=smallest, max=smallest + more, buckets=997)
    buckets, counts = pieces_of(words, subwords)
    wanted = [by_loop(word, subwords) for word in words]
    assert counts.tolist() == [len(pieces) for pieces in wanted]
    assert buckets.tolist() == [piece for pieces in wanted for piece in pieces]


def test_many_words_are_cut_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["film", "a", "unforgettable", "🙃🙃", "the"]
    whole = pieces_of(words, Subwords(min=2, max=5, buckets=50))
    monkeypatch.setattr("stages.lib.subwords.WORDS", 2)
    parts = pieces_of(words, Subwords(min=2, max=5, buckets=50))
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_the_hash_is_fnv_1a() -> None:
    assert bucket("a", 1 << 32) == 0xE40C292C
    assert bucket("foobar", 1 << 32) == 0xBF9CF968


def test_an_unknown_words_vector_is_the_mean_of_its_pieces() -> None:
    subwords = Subwords(min=3, max=3, buckets=10)
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    rows = [bucket(piece, 10) for piece in ("<he", "her", "er>")]
    vector = vector_of("her", table, subwords)
    assert vector is not None
    assert vector.tolist() == pytest.approx(table[rows].mean(0).tolist())
    assert vector_of("a", table, Subwords(min=4, max=4, buckets=10)) is None


def test_pieces_longer_at_least_than_at_most_are_refused() -> None:
    with pytest.raises(Refusal, match="min must not be above max: 5 > 3"):
        check(Subwords, {"min": 5, "max": 3, "buckets": 10}, "params.yaml: embeddings.subwords")

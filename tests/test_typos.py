"""Typos: the four kinds of typing errors by hand, and their frequencies."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.typos import adjacent_keys, mistyped


class Fixed(np.random.Generator):
    """A generator with fixed draws: which letters, which kind of error, which key."""

    def __init__(self, *draws: list[float]) -> None:
        super().__init__(np.random.PCG64(0))
        self.draws = [np.array(draw) for draw in draws]

    def random(self, *_: object, **__: object) -> Any:
        return self.draws.pop(0)

    def integers(self, *range_and_count: int, **_: object) -> Any:
        return self.draws.pop(0).astype(np.int64)[: range_and_count[2]]


@pytest.mark.parametrize(
    ("text", "position", "kind", "expected"),
    [
        ("good film", 3, 0, "goodd film"),  # the last letter of a word has no letter to swap with
        ("good film", 0, 0, "ogod film"),
        ("good film", 1, 1, "god film"),
        ("good film", 5, 2, "good ffilm"),
        ("good film", 3, 3, "gooe film"),
        ("GOOD", 3, 3, "GOOE"),
        ("çok", 0, 3, "ççok"),  # no key of this keyboard
        ("a!", 1, 1, "a!"),  # no letter
        ("end", 2, 0, "endd"),
    ],
)
def test_typos_by_hand(text: str, position: int, kind: int, expected: str) -> None:
    chosen = [0.0 if n == position else 1.0 for n in range(len(text))]
    assert mistyped([text], 50, Fixed(chosen, [kind], [0.0])) == [expected]


def test_letters_are_not_swapped_between_texts() -> None:
    assert mistyped(["a", "", "b"], 100, Fixed([0.0, 0.0], [0, 0], [])) == ["aa", "", "bb"]
    assert mistyped(["ab", "cd"], 100, Fixed([1.0, 0.0, 1.0, 1.0], [0], [])) == ["abb", "cd"]
    assert mistyped(["abc"], 100, Fixed([0.0, 0.0, 1.0], [0, 0], [])) == ["aacb"]  # one swap at a time
    assert mistyped([], 5, np.random.default_rng(1)) == []


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("abc "), max_size=20))
)
def test_typos_change_letters_only(texts: list[str]) -> None:
    result = mistyped(texts, 30, np.random.default_rng(1))
    marks = [[c for c in text if not c.isalpha()] for text in texts]
    assert [[c for c in text if not c.isalpha()] for text in result] == marks


def test_the_percentage_of_typos_is_that_of_the_parameter() -> None:
    text = "the quick brown fox jumps over a lazy dog; " * 2000
    letters = sum(map(str.isalpha, text))
    # The four kinds are equally likely: a quarter drops a letter, more than a quarter doubles one.
    for percent in (5, 10):
        result = mistyped([text], percent, np.random.default_rng(3))[0]
        dropped = doubled = 0
        for before, after in zip(text.split(" "), result.split(" "), strict=True):
            dropped += len(after) < len(before)
            doubled += len(after) > len(before)
        assert dropped < doubled
        assert dropped / letters == pytest.approx(percent / 400, rel=0.2)


def test_adjacent_keys_touch() -> None:
    table, count = adjacent_keys()
    adjacent = {chr(n): {chr(c) for c in table[n][: count[n]]} for n in range(128) if count[n]}
    assert adjacent["g"] == set("ftyhbv")
    assert adjacent["Q"] == set("WA")
    assert adjacent["m"] == set("njk")
    assert set(adjacent) == set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert all(key in adjacent[other] for key, others in adjacent.items() for other in others)
